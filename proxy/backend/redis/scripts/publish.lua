-- Publishes an event, keeps it for its cache channel, and sends it to its
-- publisher if that has no subscription.
-- KEYS: kept. ARGV: command, pub/sub channel, the publisher's own channel
-- ('': it has a subscription), milliseconds to keep it (0: not), event.
local event = ARGV[5]
if tonumber(ARGV[4]) > 0 then
  local t = redis.call('TIME')
  local order = t[1] * 1000000 + t[2]
  local last = redis.call('GETRANGE', KEYS[1], 0, 16)
  if last ~= '' then order = math.max(order, tonumber(string.sub(last, 2)) + 1) end
  event = string.format('o%016.0f', order) .. event
  redis.call('SET', KEYS[1], event, 'PX', ARGV[4])
end
redis.call(ARGV[1], ARGV[2], event)
if ARGV[3] ~= '' then redis.call(ARGV[1], ARGV[3], event) end
return 1
