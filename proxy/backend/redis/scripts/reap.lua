-- Removes part of what a node without a lease has left in one bucket.
-- KEYS: dead, own, subs, total. ARGV: base of the bucket's keys, most entries
-- at a time, seconds for which the node stays dead.
-- Returns how many entries were removed, the users who are gone and the
-- channels that are vacated by it: {n, {channel, user, ...}, {channel, ...}}.
redis.call('SET', KEYS[1], '1', 'EX', ARGV[3])
local base, most = ARGV[1], tonumber(ARGV[2])
local gone, vacated = {}, {}
local entries = redis.call('SPOP', KEYS[2], most)
for _, entry in ipairs(entries) do
  local length, rest = string.match(entry, '^%S+ (%d+) (.*)$')
  local channel, user = string.sub(rest, 1, tonumber(length)), string.sub(rest, tonumber(length) + 1)
  if redis.call('HINCRBY', base .. 'n:' .. channel, user, -1) <= 0 then
    redis.call('HDEL', base .. 'n:' .. channel, user)
    redis.call('ZREM', base .. 'o:' .. channel, user)
    redis.call('HDEL', base .. 'i:' .. channel, user)
    gone[#gone + 1] = channel
    gone[#gone + 1] = user
  end
end
if #entries == most then return {#entries, gone, vacated} end
local channels = redis.call('HRANDFIELD', KEYS[3], most)
for _, channel in ipairs(channels) do
  local count = redis.call('HGET', KEYS[3], channel)
  redis.call('HDEL', KEYS[3], channel)
  if redis.call('HINCRBY', KEYS[4], channel, -count) <= 0 then
    redis.call('HDEL', KEYS[4], channel)
    vacated[#vacated + 1] = channel
  end
end
return {#entries + #channels, gone, vacated}
