-- The upstream has said that a channel is occupied or vacated, or that a
-- member has come or gone.
-- KEYS: there, when it was said. ARGV: entry, '1' if it is there, milliseconds
-- of the upstream's clock ('': it was asked), milliseconds for which that is
-- remembered, milliseconds since it was asked.
-- Returns 0 if it has said something newer already, else 1.
if ARGV[3] == '' then
  if redis.call('PTTL', KEYS[2]) > ARGV[4] - ARGV[5] then return 0 end
else
  local last = redis.call('GET', KEYS[2])
  if last and tonumber(last) > tonumber(ARGV[3]) then return 0 end
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
end
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
else redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
