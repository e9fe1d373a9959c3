-- SPDX-License-Identifier: Apache-2.0
--
-- The queue in Redis: messages to webhooks. save() makes one when a batch is over; here they are claimed and ended, like jobs.

local function message_find(id)
  return load(K .. 'm:' .. id)
end

local function message_told(id)
  return call('HMGET', K .. 'm:' .. id, unpack(MESSAGE))
end

-- id, tenant, now
function verbs.webhook_test()
  local id, tenant, wall = ARGV[2], ARGV[3], num(ARGV[4])
  if call('EXISTS', K .. 'm:' .. id) == 1 then
    return {EXISTS}
  end
  local row = {id = id, tenant = tenant, status = 'succeeded', state = 'pending', finished_at_ms = field(wall)}
  row.seq = int(next_number('message'))
  message_save(id, row, {})
  return {DONE}
end

-- id
function verbs.webhook_find()
  if call('EXISTS', K .. 'm:' .. ARGV[2]) == 0 then
    return {NONE}
  end
  return {DONE, message_told(ARGV[2])}
end

-- "t" and a tenant, or ""; a state or ""; the number before the page or ""; how many: the number to go on before or "", rows
function verbs.webhook_list()
  local of_tenant, tenant, state, limit = ARGV[2] ~= '', string.sub(ARGV[2], 2), ARGV[3], num(ARGV[5])
  local key
  if of_tenant then
    key = state ~= '' and K .. 'mts:' .. join(state, tenant) or K .. 'mt:' .. tenant
  else
    key = state ~= '' and K .. 'mls:' .. state or K .. 'ml'
  end
  local from = ARGV[4] ~= '' and '(' .. ARGV[4] or '+inf'
  local ids = listed(K .. 'm:', 'ZREVRANGEBYSCORE', key, from, '-inf', 'LIMIT', 0, limit)
  local reply = {DONE, #ids == limit and call('HGET', K .. 'm:' .. ids[limit], 'seq') or ''}
  for _, id in ipairs(ids) do
    reply[#reply + 1] = message_told(id)
  end
  return reply
end

-- id
function verbs.webhook_retry()
  local id = ARGV[2]
  local row, was = message_find(id)
  if not row then
    return {NONE}
  end
  if row.worker then
    return {BUSY}
  end
  row.state, row.attempts, row.next_attempt_at_ms, row.delivered_at_ms, row.expires_at_ms = 'pending', nil, nil, nil, nil
  row.awake = nil
  message_save(id, row, was)
  return {DONE}
end

-- Puts messages whose time has come into their tenants' lines: some at each claim, so that none takes long.
local function messages_wake(wall)
  for _, id in ipairs(call('ZRANGEBYSCORE', K .. 'md', '-inf', int(wall), 'LIMIT', 0, 20)) do
    local row, was = load_in(K .. 'md', id, K .. 'm:' .. id)
    if row and is_free(row) and not is_awake(row) then
      row.awake = '1'
      message_save(id, row, was)
    elseif row then
      call('ZREM', K .. 'md', id)
    end
  end
end

-- The message of a tenant that is due longest; nil: none. One without a row is taken out, see load_in.
local function due_first(tenant, wall)
  local due = K .. 'mdt:' .. tenant
  while true do
    local member = call('ZRANGEBYSCORE', due, '-inf', int(wall), 'LIMIT', 0, 1)[1]
    local id = member and string.sub(member, 17)
    if id and call('EXISTS', K .. 'm:' .. id) == 1 then
      return id
    end
    if not id then
      break
    end
    call('ZREM', due, member)
  end
  if call('EXISTS', due) == 0 then
    call('ZREM', K .. 'mw', tenant)
  end
end

-- Only tenants that have a line are looked at: those that may not be served now have as many messages on their way as they
-- may, so they are few, however many tenants wait.
local function next_message(wall, tenant_most)
  local PAGE = 20
  local from = 0
  while true do
    local tenants = call('ZRANGE', K .. 'mw', from, from + PAGE - 1)
    for _, tenant in ipairs(tenants) do
      if call('ZCARD', K .. 'mxt:' .. tenant) < tenant_most then
        local id = due_first(tenant, wall)
        if id then
          return id, tenant
        end
      end
    end
    if #tenants < PAGE then
      return nil
    end
    from = from + PAGE
  end
end

-- worker, now, lease until, boot, machine, lease, most of a tenant
function verbs.webhook_claim()
  local wall = num(ARGV[3])
  messages_wake(wall)
  local id, tenant = next_message(wall, num(ARGV[8]))
  if not id then
    return {NONE}
  end
  local row, was = message_find(id)
  row.worker, row.last_attempt_at_ms = ARGV[2], field(wall)
  row.token, row.attempts = int(num(row.token) + 1), int(num(row.attempts) + 1)
  lease(row, ARGV[4], ARGV[5], ARGV[6], ARGV[7])
  message_save(id, row, was)
  if call('ZSCORE', K .. 'mw', tenant) then
    call('ZADD', K .. 'mw', next_number('message_turn'), tenant)
  end
  return {DONE, row.token, message_told(id)}
end

local function message_end(row)
  row.worker, row.lease_until_ms, row.lease_boot_id, row.machine, row.lease_ms = nil, nil, nil, nil, nil
  row.awake = nil
end

-- id, token, state, attempts to take back, when next, when delivered, when it expires, then last_status and last_error
function verbs.webhook_finish()
  local id = ARGV[2]
  local row, was = message_find(id)
  if not row or not row.worker or row.token ~= ARGV[3] then
    return {NONE}
  end
  message_end(row)
  row.state, row.attempts = ARGV[4], field(num(row.attempts) - num(ARGV[5]))
  row.next_attempt_at_ms, row.delivered_at_ms = field(num(ARGV[6])), field(num(ARGV[7]))
  row.expires_at_ms, row.last_status, row.last_error = field(num(ARGV[8])), nil, nil
  for i = 9, #ARGV, 2 do
    row[ARGV[i]] = ARGV[i + 1]
  end
  message_save(id, row, was)
  return {DONE}
end

-- The claim ended with its worker, at the last attempt or before.
local function message_lost(id, row, was, attempts_most, expires)
  message_end(row)
  row.last_error, row.next_attempt_at_ms = 'worker-lost', nil
  if num(row.attempts) >= attempts_most then
    row.state, row.expires_at_ms = 'failed', expires
  end
  message_save(id, row, was)
end

-- machine, dead worker or "", boot, now by the boot clock, most attempts, when what is given up expires: those of other
-- machines, to be watched: id, token, lease
function verbs.webhook_lapsed()
  local reply = {DONE}
  for _, id in ipairs(call('ZRANGE', K .. 'mx', 0, 499)) do
    local row, was = load_in(K .. 'mx', id, K .. 'm:' .. id)
    local over = row and has_lapsed(row, ARGV[2], ARGV[3], ARGV[4], num(ARGV[5]))
    if over then
      message_lost(id, row, was, num(ARGV[6]), ARGV[7])
    elseif row and over == nil then
      reply[#reply + 1] = {id, row.token, row.lease_ms or '0'}
    end
  end
  return reply
end

-- id, token, most attempts, when what is given up expires: ends a claim of another machine
function verbs.webhook_end()
  local row, was = message_find(ARGV[2])
  if not row or not row.worker or row.token ~= ARGV[3] then
    return {NONE}
  end
  message_lost(ARGV[2], row, was, num(ARGV[4]), ARGV[5])
  return {DONE}
end

return verbs[ARGV[1]]()
