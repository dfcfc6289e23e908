-- A socket of a user joins a channel.
-- KEYS: dead, own, order, info, sockets. ARGV: entry, user, info, limit (0: none).
-- Returns 1 if it is the user's first socket, 0 if not, -1 if the node's
-- lease is lost, -2 if the channel is full.
if redis.call('EXISTS', KEYS[1]) == 1 then return -1 end
local user, limit = ARGV[2], tonumber(ARGV[4])
local first = redis.call('HEXISTS', KEYS[5], user) == 0
if first and limit > 0 and redis.call('HLEN', KEYS[5]) >= limit then return -2 end
if redis.call('SADD', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[5], user, 1)
if not first then return 0 end
local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
redis.call('ZADD', KEYS[3], (tonumber(last[2]) or 0) + 1, user)
redis.call('HSET', KEYS[4], user, ARGV[3])
return 1
