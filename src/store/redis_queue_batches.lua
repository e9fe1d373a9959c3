-- SPDX-License-Identifier: Apache-2.0
--
-- The queue in Redis: what clients, operators and the janitor ask of batches.

-- id, home, queued most (0: any), bytes most (0: any), then the row's fields
function verbs.submit()
  local id, home, queued_most, bytes_most = ARGV[2], ARGV[3], num(ARGV[4]), num(ARGV[5])
  local row = {}
  for i = 6, #ARGV, 2 do
    row[ARGV[i]] = ARGV[i + 1]
  end
  if call('EXISTS', K .. 'b:' .. id) == 1 or (row.idempotency_key and call('HEXISTS', K .. 'k', key_of(row)) == 1) then
    return {EXISTS}
  end
  if call('EXISTS', K .. 'x:' .. id) == 1 then
    return {GONE}
  end
  local used = call('HMGET', K .. 'n:' .. row.tenant, 'queued', 'bytes')
  if queued_most > 0 and num(used[1]) + 1 > queued_most then
    return {FULL}
  end
  if bytes_most > 0 and num(used[2]) + kept_bytes(row) > bytes_most then
    return {QUOTA}
  end
  row.seq = int(next_number('batch'))
  if home ~= '' then
    row.home = home
  end
  save(id, row, {})
  if row.idempotency_key then
    call('HSET', K .. 'k', key_of(row), id)
  end
  return {DONE}
end

local function answer(id)
  if call('EXISTS', K .. 'b:' .. id) == 0 then
    return {NONE}
  end
  return {DONE, told(id, COLUMNS)}
end

-- id
function verbs.find()
  return answer(ARGV[2])
end

-- tenant, idempotency key
function verbs.find_key()
  local id = call('HGET', K .. 'k', join(ARGV[2], ARGV[3]))
  return id and answer(id) or {NONE}
end

-- "t" and a tenant, or "": how many of each status, bytes, the oldest that is queued
function verbs.counts()
  local of_tenant, tenant = ARGV[2] ~= '', string.sub(ARGV[2], 2)
  local sums = call('HMGET', of_tenant and K .. 'n:' .. tenant or K .. 'n', 'queued', 'running', 'canceling', 'succeeded',
                    'failed', 'canceled', 'bytes')
  local queued = of_tenant and K .. 'ts:' .. join('queued', tenant) or K .. 'ls:queued'
  local oldest = call('ZRANGE', queued, 0, 0)[1]
  sums[8] = oldest and call('HGET', K .. 'b:' .. oldest, 'created_at_ms')
  for i = 1, 8 do
    sums[i] = sums[i] or '0'
  end
  return {DONE, sums}
end

-- "t" and a tenant, or ""; a status or ""; the ID before the page or ""; how many: the total, whether there are more, rows
function verbs.list()
  local of_tenant, tenant, status, limit = ARGV[2] ~= '', string.sub(ARGV[2], 2), ARGV[3], num(ARGV[5])
  local key
  if of_tenant then
    key = status ~= '' and K .. 'ts:' .. join(status, tenant) or K .. 'tl:' .. tenant
  else
    key = status ~= '' and K .. 'ls:' .. status or K .. 'l'
  end
  local from = ARGV[4] ~= '' and '(' .. ARGV[4] or '+'
  local ids = listed(K .. 'b:', 'ZREVRANGEBYLEX', key, from, '-', 'LIMIT', 0, limit + 1)
  local reply = {DONE, int(call('ZCARD', key)), ids[limit + 1] and '1' or '0'}
  for i = 1, math.min(#ids, limit) do
    reply[#reply + 1] = told(ids[i], LISTED)
  end
  return reply
end

-- id, now, retention
function verbs.cancel()
  local id, wall, retention = ARGV[2], num(ARGV[3]), num(ARGV[4])
  local row, was = find(id)
  if not row then
    return {NONE}
  end
  if OVER[row.status] then
    return {WRONG}
  end
  if row.status ~= 'canceling' then
    row.error_code, row.error_detail, row.next_attempt_at_ms = nil, nil, nil
    row.cancel_requested_at_ms = int(wall)
    change(row)
    if is_queued(row) then
      finish(row, 'canceled', wall, retention)
    else
      row.status = 'canceling'
    end
    save(id, row, was)
  end
  return answer(id)
end

local RETRIED = {'attempt', 'started_at_ms', 'finished_at_ms', 'expires_at_ms', 'cancel_requested_at_ms',
                 'next_attempt_at_ms', 'response_status', 'response_headers', 'response_type', 'response_sha256',
                 'result_token', 'result_expires_at_ms', 'progress_done', 'progress_failed', 'error_code',
                 'error_detail'}

-- id, now: the result that it had
function verbs.retry()
  local id, wall = ARGV[2], num(ARGV[3])
  local row, was = find(id)
  if not row then
    return {NONE}
  end
  if row.status ~= 'failed' and row.status ~= 'canceled' then
    return {WRONG}
  end
  if row.body_gone then
    return {GONE}
  end
  for _, name in ipairs(RETRIED) do
    row[name] = nil
  end
  row.status, row.response_bytes, row.progress_total = 'queued', '-1', row.items
  if row.start_by_ms then
    row.start_by_ms = int(wall + num(row.start_by_ms) - math.max(num(row.created_at_ms), num(row.queued_at_ms)))
  end
  row.queued_at_ms = int(wall)
  change(row)
  save(id, row, was)
  return {DONE, was.result_token or '0'}
end

-- id: the result that it had, whether its body was gone
function verbs.remove()
  local id = ARGV[2]
  local row = find(id)
  if not row then
    return {NONE}
  end
  if not OVER[row.status] then
    return {WRONG}
  end
  begin()
  if row.idempotency_key then
    call('ZADD', K .. 'kx', row.expires_at_ms, key_of(row))
  end
  drop(id, row)
  return {DONE, row.result_token or '0'}
end

-- now, retention: how many
function verbs.overdue()
  local wall, retention = num(ARGV[2]), num(ARGV[3])
  local ids = call('ZRANGEBYSCORE', K .. 'o', '-inf', int(wall), 'LIMIT', 0, 100)
  for _, id in ipairs(ids) do
    local row, was = find_in(K .. 'o', id)
    if row then
      row.next_attempt_at_ms, row.error_code = nil, 'waited-too-long'
      row.error_detail = 'it was not done in the time that it may wait'
      change(row)
      finish(row, 'failed', wall, retention)
      save(id, row, was)
    end
  end
  return {DONE, int(#ids)}
end

-- ---- what is kept no longer ----------------------------------------------------------------------------------------

-- What is past its time, at most so many; `more.is_left`: there were so many.
local function due(key, wall, most, more)
  local found = call('ZRANGEBYSCORE', key, '-inf', int(wall), 'LIMIT', 0, most)
  more.is_left = more.is_left or #found >= most
  return found
end

local function expire_rows(home, wall, most, more, gone)
  for _, id in ipairs(due(K .. 'e:' .. home, wall, most, more)) do
    local row = find_in(K .. 'e:' .. home, id)
    if row and gone then
      gone[#gone + 1] = {id, row.result_token or '0', '0', '0'}
    end
    if row then
      drop(id, row)
    end
  end
end

local function expire_results(home, wall, most, more, gone)
  for _, id in ipairs(due(K .. 'er:' .. home, wall, most, more)) do
    local row, was = find_in(K .. 'er:' .. home, id)
    if row then
      gone[#gone + 1] = {id, row.result_token, '1', '0'}
      row.result_token = nil
      save(id, row, was)
    end
  end
end

local function expire_messages_and_keys(wall, most, more)
  for _, id in ipairs(due(K .. 'me', wall, most, more)) do
    local row = load_in(K .. 'me', id, K .. 'm:' .. id)
    if row then
      message_save(id, {}, row)
    end
  end
  for _, key in ipairs(due(K .. 'kx', wall, most, more)) do
    call('HDEL', K .. 'k', key)
    call('ZREM', K .. 'kx', key)
  end
end

-- now, how many of each kind, home, how long a home that is away may be late: what is gone: id, result, whether the body
-- stays, bytes; then whether there may be more
function verbs.expire()
  local wall, most, home, late = num(ARGV[2]), num(ARGV[3]), ARGV[4], num(ARGV[5])
  local gone, more = {}, {is_left = false}
  expire_rows(home, wall, most, more, gone)
  expire_results(home, wall, most, more, gone)
  for _, other in ipairs(call('SMEMBERS', K .. 'homes')) do
    if other ~= home then
      expire_rows(other, wall - late, most, more, nil)
    end
    if call('EXISTS', K .. 'e:' .. other) == 0 then
      call('SREM', K .. 'homes', other)
    end
  end
  expire_messages_and_keys(wall, most, more)
  return {DONE, gone, more.is_left and '1' or '0'}
end

-- bytes, how many, home: what is gone, as with expire
function verbs.trim()
  local bytes, most, home = num(ARGV[2]), num(ARGV[3]), ARGV[4]
  local gone, found = {}, 0
  for _, id in ipairs(call('ZRANGE', K .. 'f:' .. home, 0, most - 1)) do
    if found >= bytes then
      break
    end
    local row, was = find_in(K .. 'f:' .. home, id)
    if row then
      found = found + kept_bytes(row)
      gone[#gone + 1] = {id, row.result_token or '0', '0', int(kept_bytes(row))}
      row.result_token, row.body_gone = nil, '1'
      save(id, row, was)
    end
  end
  return {DONE, gone}
end

-- id, whether the body is gone, the result that is gone
function verbs.forget()
  local id = ARGV[2]
  local row, was = find(id)
  if not row or not OVER[row.status] then
    return {NONE}
  end
  if ARGV[3] == '1' then
    row.body_gone = '1'
  end
  if row.result_token == ARGV[4] then
    row.result_token = nil
  end
  save(id, row, was)
  return {DONE}
end

-- id, for how long: the row; where there is none, none of that ID is added from here on
function verbs.look()
  local found = answer(ARGV[2])
  if found[1] == NONE then
    call('SET', K .. 'x:' .. ARGV[2], '1', 'PX', ARGV[3])
  end
  return found
end
