-- Makes a node the owner of something, unless another one is that lives.
-- KEYS: owner, leases, dead. ARGV: node, milliseconds, '1' to inherit it from
-- one that does not live, or has let go just now.
-- Returns 0 if it is not, 1 if nobody was the owner or the node already, 2 if
-- another one was until now.
if redis.call('EXISTS', KEYS[3]) == 1 or not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  if ARGV[3] ~= '1' then return 0 end
  local t = redis.call('TIME')
  local till = redis.call('ZSCORE', KEYS[2], owner)
  if till and tonumber(till) >= t[1] * 1000 + math.floor(t[2] / 1000) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if owner and owner ~= ARGV[1] then return 2 end
return 1
