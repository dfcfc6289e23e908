-- Publishes an event, sends it to its publisher if that has no subscription,
-- and adds it to its bucket's log, for nodes that cannot be reached just now.
-- A cache channel keeps it.
-- KEYS: log, what is noted beside it, kept. ARGV: command, pub/sub channel,
-- the publisher's own channel ('': it has a subscription), milliseconds to
-- keep it (0: not), event as far as its place, its data, milliseconds for
-- which the log holds it, bytes after which the log is cut.
--
-- The log is cut where the last but one of those bytes began, and says so by
-- an entry t: where it was cut.
local head, data = ARGV[5], ARGV[6]
if tonumber(ARGV[4]) > 0 then
  local t = redis.call('TIME')
  local order = t[1] * 1000000 + t[2]
  local last = redis.call('GETRANGE', KEYS[3], 0, 16)
  if last ~= '' then order = math.max(order, tonumber(string.sub(last, 2)) + 1) end
  head = string.format('o%016.0f', order) .. head
end
local id = redis.call('XADD', KEYS[1], '*', 'h', head, 'd', data)
local event = head .. string.char(#id) .. id .. data
if tonumber(ARGV[4]) > 0 then redis.call('SET', KEYS[3], event, 'PX', ARGV[4]) end
redis.call(ARGV[1], ARGV[2], event)
if ARGV[3] ~= '' then redis.call(ARGV[1], ARGV[3], event) end
local size, part = #head + #data, tonumber(ARGV[8])
local all = redis.call('HINCRBY', KEYS[2], 'n', size)
if all == size then
  local hold = tonumber(ARGV[7])
  redis.call('PEXPIRE', KEYS[2], hold)
  redis.call('PEXPIRE', KEYS[1], 2 * hold)
  local old = string.format('%.0f', tonumber(string.match(id, '^%d+')) - hold)
  redis.call('XTRIM', KEYS[1], 'MINID', '~', old)
elseif math.floor(all / part) > math.floor((all - size) / part) then
  local cut = redis.call('HGET', KEYS[2], 'c')
  redis.call('HSET', KEYS[2], 'c', id)
  if cut then
    redis.call('XTRIM', KEYS[1], 'MINID', '~', cut)
    redis.call('XADD', KEYS[1], '*', 't', cut)
  end
end
return 1
