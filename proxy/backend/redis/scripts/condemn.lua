-- Declares a node dead if its lease has run out.
-- KEYS: leases, dead. ARGV: node, seconds for which it stays dead, '1' to do
-- so in any case.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[3] ~= '1' and (not ends or tonumber(ends) >= now) then return 0 end
redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
return 1
