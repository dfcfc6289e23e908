-- Renews a node's lease.
-- KEYS: leases, dead. ARGV: node, milliseconds, '1' to begin one.
-- Returns 1 and the nodes whose leases have run out; 0 if the lease is not
-- known here; -1 if the node was declared dead.
if redis.call('EXISTS', KEYS[2]) == 1 then return {-1} end
if ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return {1, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)}
