-- Adds moves to an app's, if the last one is still the one that is known.
-- KEYS: moves. ARGV: last, empty for none; how many to keep; moves.
-- Returns 1, or 0 if another one is the last.
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if (last[1] or '') ~= ARGV[1] then return 0 end
local at = tonumber(last[2] or '0')
for i = 3, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', at + i - 2), ARGV[i])
end
local old = redis.call('ZRANGE', KEYS[1], 0, -1 - tonumber(ARGV[2]))
for _, move in ipairs(old) do redis.call('ZREM', KEYS[1], move) end
return 1
