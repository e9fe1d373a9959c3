-- SPDX-License-Identifier: Apache-2.0
--
-- The queue in Redis: rows, and all that is kept in step with them. redis_queue_script.h tells the layout and how the
-- script is called. save() is the one place that writes a row: what lists, lines, turns and sums must follow from its old
-- and its new state, it works out itself, so that no verb can forget one.
--
-- A server that may not write, as a replica, refuses the first command of a script that would, and by that all of it. One
-- without memory refuses the first only where that may need some, and nothing behind it. So what brings something new begins
-- with a command that may; whatever leads to an end begins with one that needs none (begin), and is done by a full server too.

local K = KEYS[1]
local call = redis.call
local verbs = {}
local DONE, NONE, EXISTS, FULL, QUOTA, WRONG, GONE, BUSY = 0, 1, 2, 3, 4, 5, 6, 7
local OVER = {succeeded = true, failed = true, canceled = true}

-- What is not there counts as 0.
local function num(text)
  return tonumber(text or 0) or 0
end

-- Lua would write a large number with an exponent.
local function int(number)
  return string.format('%.0f', number)
end

-- A number as a field: none is kept for 0.
local function field(number)
  return number ~= 0 and int(number) or nil
end

-- Two names as one, however they are spelt.
local function join(a, b)
  return #a .. ':' .. a .. b
end

local function begin()
  call('DEL', K .. '-')
end

local function next_number(name)
  return call('HINCRBY', K .. 'c', name, 1)
end

local function add(key, name, more)
  if more ~= 0 and call('HINCRBY', key, name, int(more)) == 0 then
    call('HDEL', key, name)
  end
end

-- The row, and a copy of it as it is; nil where there is none.
local function load(key)
  local flat = call('HGETALL', key)
  if #flat == 0 then
    return nil
  end
  local row, was = {}, {}
  for i = 1, #flat, 2 do
    row[flat[i]], was[flat[i]] = flat[i + 1], flat[i + 1]
  end
  return row, was
end

-- Writes what is new of a row. A row that is empty is gone.
local function store(key, row, was)
  local set, gone = {}, {}
  if next(was) ~= nil then
    begin()
  end
  for name, value in pairs(row) do
    if was[name] ~= value then
      set[#set + 1], set[#set + 2] = name, value
    end
  end
  for name in pairs(was) do
    if row[name] == nil then
      gone[#gone + 1] = name
    end
  end
  if next(row) == nil then
    call('DEL', key)
    return
  end
  if #set > 0 then
    call('HSET', key, unpack(set))
  end
  if #gone > 0 then
    call('HDEL', key, unpack(gone))
  end
end

-- Moves `member` from the sorted sets it was in to those it is in: key -> score.
local function move(was, is, member)
  for key in pairs(was) do
    if is[key] == nil then
      call('ZREM', key, member)
    end
  end
  for key, score in pairs(is) do
    if was[key] ~= score then
      call('ZADD', key, int(score), member)
    end
  end
end

-- ---- batches -------------------------------------------------------------------------------------------------------

local function home_of(row)
  return row.home or ''
end

local function is_queued(row)
  return row.status == 'queued'
end

-- The line of jobs that are ready, of a tenant at a location at a home; nil where the row stands in none.
local function line_of(row)
  if row.tenant and is_queued(row) and num(row.next_attempt_at_ms) == 0 then
    return join(home_of(row), join(row.tenant, row.location))
  end
end

local function kept_bytes(row)
  local body = row.body_gone and 0 or num(row.request_bytes)
  return body + (row.result_token and math.max(num(row.response_bytes), 0) or 0)
end

local function queued_sets(row, sets)
  local waits, start_by = num(row.next_attempt_at_ms), num(row.start_by_ms)
  local line = line_of(row)
  if line then
    sets[K .. 'r:' .. line] = num(row.seq)
  else
    sets[K .. 'd:' .. home_of(row)] = waits
  end
  if start_by > 0 and not (row.items and row.started_at_ms) then
    sets[K .. 'o'] = start_by
  end
end

local function over_sets(row, sets)
  local home = home_of(row)
  sets[K .. 'e:' .. home] = num(row.expires_at_ms)
  if row.result_token and row.result_expires_at_ms then
    sets[K .. 'er:' .. home] = num(row.result_expires_at_ms)
  end
  if row.result_token or not row.body_gone then
    sets[K .. 'f:' .. home] = num(row.finished_at_ms)
  end
end

-- The sorted sets that a row belongs to.
local function batch_sets(row)
  local sets = {}
  if not row.tenant then
    return sets
  end
  sets[K .. 'l'] = 0
  sets[K .. 'ls:' .. row.status] = 0
  sets[K .. 'tl:' .. row.tenant] = 0
  sets[K .. 'ts:' .. join(row.status, row.tenant)] = 0
  if is_queued(row) then
    queued_sets(row, sets)
  elseif OVER[row.status] then
    over_sets(row, sets)
  end
  if row.worker then
    sets[K .. 'w:' .. row.worker] = 0
  end
  return sets
end

local function sum(row, sign)
  if row.tenant then
    add(K .. 'n', row.status, sign)
    add(K .. 'n:' .. row.tenant, row.status, sign)
    add(K .. 'n:' .. row.tenant, 'bytes', sign * kept_bytes(row))
  end
end

-- How many run, of a tenant (t), at a location (l), and of a tenant there (x).
local function run(row, sign)
  if row.worker then
    add(K .. 'u', 't' .. row.tenant, sign)
    add(K .. 'u', 'l' .. row.location, sign)
    add(K .. 'u', 'x' .. join(row.tenant, row.location), sign)
  end
end

-- A tenant has one turn, which it also has at each location where it has a line.
local function turn_set(home, tenant, turn)
  call('ZADD', K .. 't:' .. home, turn, tenant)
  for _, location in ipairs(call('SMEMBERS', K .. 'tr:' .. join(home, tenant))) do
    call('ZADD', K .. 'ht:' .. join(home, location), turn, tenant)
    call('SADD', K .. 'hl:' .. home, location)
  end
end

-- What an earlier version left has turns, and none at locations.
local function turns_adopt(home)
  if call('EXISTS', K .. 'hl:' .. home) == 0 then
    local turns = call('ZRANGE', K .. 't:' .. home, 0, -1, 'WITHSCORES')
    for i = 1, #turns, 2 do
      turn_set(home, turns[i], turns[i + 1])
    end
  end
end

-- A tenant with a job ready has a turn; one that comes back stands at the end.
local function turn_keep(row)
  local home = home_of(row)
  local is_new = call('SADD', K .. 'tr:' .. join(home, row.tenant), row.location) == 1
  local turn = call('ZSCORE', K .. 't:' .. home, row.tenant)
  turns_adopt(home)
  if is_new or not turn then
    turn_set(home, row.tenant, turn or next_number('turn'))
  end
end

-- The tenant has no line at that location any more.
local function turn_drop(home, tenant, location)
  local lines, here = K .. 'tr:' .. join(home, tenant), K .. 'ht:' .. join(home, location)
  call('SREM', lines, location)
  if call('EXISTS', lines) == 0 then
    call('ZREM', K .. 't:' .. home, tenant)
  end
  call('ZREM', here, tenant)
  if call('EXISTS', here) == 0 then
    call('SREM', K .. 'hl:' .. home, location)
  end
end

local function turn_leave(was)
  if call('EXISTS', K .. 'r:' .. line_of(was)) == 0 then
    turn_drop(home_of(was), was.tenant, was.location)
  end
end

local message_add

local function save(id, row, was)
  store(K .. 'b:' .. id, row, was)
  move(batch_sets(was), batch_sets(row), id)
  if was.status ~= row.status or kept_bytes(was) ~= kept_bytes(row) then
    sum(was, -1)
    sum(row, 1)
  end
  if was.worker ~= row.worker then
    run(was, -1)
    run(row, 1)
  end
  local before, after = line_of(was), line_of(row)
  if before and before ~= after then
    turn_leave(was)
  end
  if after and before ~= after then
    turn_keep(row)
  end
  if OVER[row.status] and not OVER[was.status] then
    if row.home then
      call('SADD', K .. 'homes', row.home)
    end
    if row.wants_webhook then
      message_add(id, row)
    end
  end
end

local function find(id)
  return load(K .. 'b:' .. id)
end

-- The row of an ID that stands in a sorted set; an ID without one, as a server leaves that throws keys away, is taken out.
local function load_in(set, id, key)
  local row, was = load(key)
  if not row then
    call('ZREM', set, id)
  end
  return row, was
end

local function find_in(set, id)
  return load_in(set, id, K .. 'b:' .. id)
end

-- The IDs of a list, by a command and its words, of which none is without a row: those are taken out.
local function listed(rows, command, set, ...)
  local ids, lost
  repeat
    ids, lost = call(command, set, ...), false
    for _, id in ipairs(ids) do
      if call('EXISTS', rows .. id) == 0 then
        call('ZREM', set, id)
        lost = true
      end
    end
  until not lost
  return ids
end

local function key_of(row)
  return join(row.tenant, row.idempotency_key)
end

-- Takes a row away, and its idempotency key unless that is kept for longer.
local function drop(id, was)
  save(id, {}, was)
  if was.idempotency_key and call('HGET', K .. 'k', key_of(was)) == id and not call('ZSCORE', K .. 'kx', key_of(was)) then
    call('HDEL', K .. 'k', key_of(was))
  end
end

local function change(row)
  row.version = int(num(row.version) + 1)
end

-- The row is over at `wall`; `retention` where it names none itself.
local function finish(row, status, wall, retention)
  local own = num(row.retention_ms)
  row.status, row.worker, row.lease_until_ms, row.lease_boot_id = status, nil, nil, nil
  row.machine, row.lease_ms = nil, nil
  row.finished_at_ms = int(wall)
  row.expires_at_ms = int(wall + (own > 0 and own or retention))
end

-- What is told of a row: its columns, and where its files lie, and whether nobody works there.
local function told(id, columns)
  local values = call('HMGET', K .. 'b:' .. id, unpack(columns))
  local home = call('HGET', K .. 'b:' .. id, 'home')
  values[#values + 1] = home
  values[#values + 1] = home and call('EXISTS', K .. 'h:' .. home) == 0 and '1' or false
  return values
end

-- ---- messages to webhooks ------------------------------------------------------------------------------------------

-- Pending, and in nobody's hands.
local function is_free(row)
  return row.tenant and row.state == 'pending' and not row.worker
end

-- It has no time to wait for, or was woken when that had come.
local function is_awake(row)
  return num(row.next_attempt_at_ms) == 0 or row.awake ~= nil
end

local function message_sets(row)
  local sets = {}
  if not row.tenant then
    return sets
  end
  local seq = num(row.seq)
  sets[K .. 'ml'] = seq
  sets[K .. 'mls:' .. row.state] = seq
  sets[K .. 'mt:' .. row.tenant] = seq
  sets[K .. 'mts:' .. join(row.state, row.tenant)] = seq
  if row.worker then
    sets[K .. 'mx'] = 0
    sets[K .. 'mxt:' .. row.tenant] = 0
  elseif is_free(row) then
    sets[K .. 'md'] = not is_awake(row) and num(row.next_attempt_at_ms) or nil
  else
    sets[K .. 'me'] = num(row.expires_at_ms)
  end
  return sets
end

-- The line of a tenant's messages that may be sent. Those that are due at once are told apart by their number.
local function due_set(row)
  if is_free(row) and is_awake(row) then
    return {[K .. 'mdt:' .. row.tenant] = num(row.next_attempt_at_ms)}
  end
  return {}
end

local function message_save(id, row, was)
  local tenant = row.tenant or was.tenant
  store(K .. 'm:' .. id, row, was)
  move(message_sets(was), message_sets(row), id)
  move(due_set(was), due_set(row), string.format('%016.0f', num(row.seq or was.seq)) .. id)
  if call('EXISTS', K .. 'mdt:' .. tenant) == 0 then
    call('ZREM', K .. 'mw', tenant)
  elseif not call('ZSCORE', K .. 'mw', tenant) then
    call('ZADD', K .. 'mw', next_number('message_turn'), tenant)
  end
end

local TOLD_OF = {'created_at_ms', 'started_at_ms', 'finished_at_ms', 'attempt', 'response_status', 'progress_done',
                 'progress_total', 'progress_failed', 'error_code', 'error_detail', 'metadata'}

message_add = function(id, row)
  local message = {id = 'msg_' .. string.sub(id, 7) .. '_' .. row.version, tenant = row.tenant, batch_id = id,
                   status = row.status, state = 'pending'}
  if call('EXISTS', K .. 'm:' .. message.id) == 1 then
    return
  end
  for _, name in ipairs(TOLD_OF) do
    message[name] = row[name]
  end
  message.seq = int(next_number('message'))
  message_save(message.id, message, {})
end
