-- Forgets that webhook receivers were told of a channel or a member, unless it
-- is there.
-- KEYS: told, total, sockets. ARGV: entry, channel, '1' for a member, user.
-- Returns 1 if receivers have to be told now.
local there
if ARGV[3] == '1' then there = redis.call('HEXISTS', KEYS[3], ARGV[4])
else there = redis.call('HEXISTS', KEYS[2], ARGV[2]) end
if there == 1 then return 0 end
return redis.call('SREM', KEYS[1], ARGV[1])
