-- SPDX-License-Identifier: Apache-2.0
--
-- The queue in Redis: what workers ask. What a claim changes is guarded by the row's state, what comes later by the token
-- of the claim.

local function running(name)
  return num(call('HGET', K .. 'u', name))
end

-- location -> what it may run: name, most, per endpoint, from ARGV[at] on
local function limits_read(at)
  local limits = {}
  for i = at, #ARGV, 3 do
    limits[ARGV[i]] = {most = num(ARGV[i + 1]), per_endpoint = ARGV[i + 2] == '1'}
  end
  return limits
end

-- 1 where nobody may run there now, whoever's turn it is.
local function is_full(location, limits)
  local set = limits[location]
  return set ~= nil and set.per_endpoint and running('l' .. location) >= set.most
end

local function is_within(tenant, location, tenant_most, limits)
  local set = limits[location]
  if set then
    if is_full(location, limits) or not set.per_endpoint and running('x' .. join(tenant, location)) >= set.most then
      return false
    end
    tenant_most = tenant_most > 0 and math.max(tenant_most, set.most) or 0
  end
  return tenant_most == 0 or running('t' .. tenant) < tenant_most
end

-- The oldest job of a tenant that the limits let through, and the set it stands in; nil: none.
local function next_of(home, tenant, tenant_most, limits)
  local oldest, oldest_seq, oldest_in
  for _, location in ipairs(call('SMEMBERS', K .. 'tr:' .. join(home, tenant))) do
    if is_within(tenant, location, tenant_most, limits) then
      local line = K .. 'r:' .. join(home, join(tenant, location))
      local head = call('ZRANGE', line, 0, 0, 'WITHSCORES')
      if head[1] and (not oldest or num(head[2]) < oldest_seq) then
        oldest, oldest_seq, oldest_in = head[1], num(head[2]), line
      end
    end
  end
  return oldest, oldest_in
end

-- The tenant at a location that is served next there, if its turn comes before `before`, and its turn. Those passed over
-- have as many jobs running as they may, so they are few.
local function next_at(home, location, before, tenant_most, limits)
  local PAGE, from = 20, 0
  while true do
    local found = call('ZRANGE', K .. 'ht:' .. join(home, location), from, from + PAGE - 1, 'WITHSCORES')
    for i = 1, #found, 2 do
      local tenant, turn = found[i], num(found[i + 1])
      if turn >= before then
        return nil
      end
      if call('EXISTS', K .. 'r:' .. join(home, join(tenant, location))) == 0 then
        turn_drop(home, tenant, location) -- lost with keys that a server threw away
      elseif is_within(tenant, location, tenant_most, limits) then
        return tenant, turn
      end
    end
    if #found < 2 * PAGE then
      return nil
    end
    from = from + PAGE
  end
end

-- The tenant whose turn comes first of those that may be served, at whichever location: one that is full costs nothing.
local function next_job(home, tenant_most, limits)
  local first, first_turn = nil, math.huge
  turns_adopt(home)
  for _, location in ipairs(call('SMEMBERS', K .. 'hl:' .. home)) do
    if not is_full(location, limits) then
      local tenant, turn = next_at(home, location, first_turn, tenant_most, limits)
      if tenant then
        first, first_turn = tenant, turn
      end
    end
  end
  if first then
    return next_of(home, first, tenant_most, limits)
  end
end

local function wake(home, wall)
  for _, id in ipairs(call('ZRANGEBYSCORE', K .. 'd:' .. home, '-inf', int(wall), 'LIMIT', 0, 100)) do
    local row, was = find_in(K .. 'd:' .. home, id)
    if row then
      row.next_attempt_at_ms = nil
      change(row)
      save(id, row, was)
    end
  end
end

local function lease(row, until_ms, boot, machine, lease_ms)
  row.lease_until_ms, row.lease_boot_id, row.machine, row.lease_ms = until_ms, boot ~= '' and boot or nil, machine, lease_ms
  row.beat = int(num(row.beat) + 1)
end

-- worker, its epoch, this claim's name, now, lease until, boot, machine, lease, home, most of a tenant (0: any), then limits
function verbs.claim()
  local worker, wall, home = ARGV[2], num(ARGV[5]), ARGV[10]
  if num(call('GET', K .. 'ep:' .. worker)) > num(ARGV[3]) then
    return {NONE}
  end
  wake(home, wall)
  local id, line = next_job(home, num(ARGV[11]), limits_read(12))
  if not id then
    return {NONE}
  end
  local row, was = find_in(line, id)
  if not row then
    return {NONE}
  end
  row.status, row.worker, row.claim, row.error_code, row.error_detail = 'running', worker, ARGV[4], nil, nil
  row.token, row.attempt = int(num(row.token) + 1), int(num(row.attempt) + 1)
  row.started_at_ms = row.started_at_ms or field(wall)
  lease(row, ARGV[6], ARGV[7], ARGV[8], ARGV[9])
  change(row)
  save(id, row, was)
  if call('ZSCORE', K .. 't:' .. home, row.tenant) then
    turn_set(home, row.tenant, next_number('turn'))
  end
  return {DONE, row.token, told(id, COLUMNS)}
end

local function held_by(worker)
  return call('ZRANGE', K .. 'w:' .. worker, 0, -1)
end

-- worker, lease until, boot, machine, lease: id, token, whether cancel was asked for
function verbs.renew()
  local held = {}
  for _, id in ipairs(held_by(ARGV[2])) do
    local row, was = find_in(K .. 'w:' .. ARGV[2], id)
    if row then
      lease(row, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
      store(K .. 'b:' .. id, row, was)
      held[#held + 1] = {id, row.token, row.cancel_requested_at_ms and '1' or '0'}
    end
  end
  return {DONE, held}
end

-- worker: as renew, those that are canceling
function verbs.cancels()
  local asked = {}
  for _, id in ipairs(held_by(ARGV[2])) do
    local row = call('HMGET', K .. 'b:' .. id, 'status', 'token')
    if row[1] == 'canceling' then
      asked[#asked + 1] = {id, row[2], '1'}
    end
  end
  return {DONE, asked}
end

-- The row of a claim; nil where the token is no longer the row's.
local function leased(id, token)
  local row, was = find(id)
  if row and row.worker and row.token == token then
    return row, was
  end
end

-- id, token, done, total, failed
function verbs.progress()
  local id, done = ARGV[2], num(ARGV[4])
  local row, was = leased(id, ARGV[3])
  if not row then
    return {NONE}
  end
  if row.items and done > num(row.progress_done) then
    row.attempt = '1'
  end
  row.progress_done, row.progress_total, row.progress_failed = field(done), field(num(ARGV[5])), field(num(ARGV[6]))
  change(row)
  save(id, row, was)
  return {DONE}
end

-- The row that is to be ended by the end of that name; else why not: it was ended so already, or is no longer ours. `beat`:
-- only if the lease was not renewed since; "": however that is.
local function ending(id, token, name, beat)
  local row, was = leased(id, token)
  if row and (beat == '' or row.beat == beat) then
    row['end'] = name
    return row, was
  end
  return nil, {call('HGET', K .. 'b:' .. id, 'end') == name and DONE or NONE}
end

-- id, token, this end's name, beat, now, retention, status, bytes, then other fields of the answer
function verbs.finish()
  local id, wall, bytes = ARGV[2], num(ARGV[6]), num(ARGV[9])
  local row, was = ending(id, ARGV[3], ARGV[4], ARGV[5])
  if not row then
    return was
  end
  for _, name in ipairs({'response_status', 'response_headers', 'response_type', 'response_sha256', 'error_code',
                         'error_detail', 'result_token', 'result_expires_at_ms'}) do
    row[name] = nil
  end
  for i = 10, #ARGV, 2 do
    row[ARGV[i]] = ARGV[i + 1]
  end
  row.response_bytes = field(bytes)
  if bytes >= 0 then
    row.result_token = row.token
    row.result_expires_at_ms = row.result_retention_ms and int(wall + num(row.result_retention_ms))
  end
  change(row)
  finish(row, ARGV[8], wall, num(ARGV[7]))
  save(id, row, was)
  return {DONE}
end

-- A job in hand is queued again at `at` (0: at once), or canceled where that was asked for.
local function queue_again(id, row, was, wall, retention, at)
  row.worker, row.lease_until_ms, row.lease_boot_id, row.machine, row.lease_ms = nil, nil, nil, nil, nil
  change(row)
  if row.status == 'canceling' then
    row.error_code, row.error_detail = nil, nil
    finish(row, 'canceled', wall, retention)
  else
    row.status, row.next_attempt_at_ms = 'queued', field(at)
  end
  save(id, row, was)
end

-- id, token, this end's name, beat, now, retention, when, attempts to take back, then error_code and error_detail
function verbs.again()
  local id = ARGV[2]
  local row, was = ending(id, ARGV[3], ARGV[4], ARGV[5])
  if not row then
    return was
  end
  row.error_code, row.error_detail = nil, nil
  for i = 10, #ARGV, 2 do
    row[ARGV[i]] = ARGV[i + 1]
  end
  if row.status ~= 'canceling' then
    row.attempt = field(num(row.attempt) - num(ARGV[9]))
  end
  queue_again(id, row, was, num(ARGV[6]), num(ARGV[7]), num(ARGV[8]))
  return {DONE}
end

-- worker, its new epoch, now, retention, then claims whose answers were lost: they are taken back, and none comes late
function verbs.settle()
  local worker, lost = ARGV[2], {}
  for i = 6, #ARGV do
    lost[ARGV[i]] = true
  end
  begin()
  call('SET', K .. 'ep:' .. worker, ARGV[3], 'EX', 86400)
  for _, id in ipairs(held_by(worker)) do
    local row, was = find_in(K .. 'w:' .. worker, id)
    if row and row.claim and lost[row.claim] then
      row.attempt = field(num(row.attempt) - 1)
      queue_again(id, row, was, num(ARGV[4]), num(ARGV[5]), 0)
    end
  end
  return {DONE}
end

-- ---- recovery ------------------------------------------------------------------------------------------------------

-- A lease of this machine goes by its boot clock; nil: it is another machine's, whose clock is not known here.
local function has_lapsed(row, machine, dead_worker, boot, boot_ms)
  if row.machine and row.machine ~= machine then
    return nil
  end
  return row.worker == dead_worker or (row.lease_boot_id or '') ~= boot or num(row.lease_until_ms) <= boot_ms
end

-- A worker that asks this shows that its home is at work, and at which URL it gives what lies there ("": at none).
local function home_beat(home, url)
  local key = K .. 'h:' .. home
  if home ~= '' and (call('PTTL', key) < 40000 or call('GET', key) ~= url) then
    begin()
    call('SET', key, url, 'PX', 60000)
  end
end

-- home, a secret where there is none yet: home's URL or "", the secret of all machines
function verbs.home()
  local secret = call('GET', K .. 'secret')
  if not secret then
    call('SET', K .. 'secret', ARGV[3])
    secret = ARGV[3]
  end
  return {DONE, call('GET', K .. 'h:' .. ARGV[2]) or '', secret}
end

-- status, the ID to go on behind or "", machine, dead worker or "", boot, now by the boot clock, home, how many, home's URL:
-- the ID to go on behind or "", then those whose lease is over ('1') or is to be watched ('0'):
-- id, token, beat, '1' or '0', lease, attempt, most attempts, whether it may not be repeated, whether it is canceling
function verbs.lapsed()
  local status, most = ARGV[2], num(ARGV[9])
  local reply = {DONE, ''}
  home_beat(ARGV[8], ARGV[10])
  local from = ARGV[3] ~= '' and '(' .. ARGV[3] or '-'
  local ids = call('ZRANGEBYLEX', K .. 'ls:' .. status, from, '+', 'LIMIT', 0, most)
  for _, id in ipairs(ids) do
    local row = find_in(K .. 'ls:' .. status, id)
    local over = row and has_lapsed(row, ARGV[4], ARGV[5], ARGV[6], num(ARGV[7]))
    if row and over ~= false then
      reply[#reply + 1] = {id, row.token, row.beat or '0', over and '1' or '0', row.lease_ms or '0', row.attempt or '0',
                           row.max_attempts or '0', row.never_repeat and not row.items and '1' or '0',
                           status == 'canceling' and '1' or '0'}
    end
  end
  reply[2] = #ids == most and ids[most] or ''
  return reply
end
