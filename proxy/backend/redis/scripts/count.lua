-- A node says how many subscriptions it has on a channel.
-- KEYS: dead, subs, total. ARGV: channel, count.
-- Returns the counts of all nodes before and after, or -1 as the first if the
-- node's lease is lost.
if redis.call('EXISTS', KEYS[1]) == 1 then return {-1, 0} end
local old, new = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0'), tonumber(ARGV[2])
if new == old then
  local total = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0')
  return {total, total}
end
if new > 0 then redis.call('HSET', KEYS[2], ARGV[1], new) else redis.call('HDEL', KEYS[2], ARGV[1]) end
local after = redis.call('HINCRBY', KEYS[3], ARGV[1], new - old)
if after <= 0 then redis.call('HDEL', KEYS[3], ARGV[1]) end
return {after - new + old, after}
