-- A socket of a user leaves a channel.
-- KEYS: dead, own, order, info, sockets. ARGV: entry, user.
-- Returns 1 if it was the user's last socket, 0 if not, -1 if the node's
-- lease is lost.
if redis.call('EXISTS', KEYS[1]) == 1 then return -1 end
if redis.call('SREM', KEYS[2], ARGV[1]) == 0 then return 0 end
local user = ARGV[2]
if redis.call('HINCRBY', KEYS[5], user, -1) > 0 then return 0 end
redis.call('HDEL', KEYS[5], user)
redis.call('ZREM', KEYS[3], user)
redis.call('HDEL', KEYS[4], user)
return 1
