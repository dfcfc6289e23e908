-- What a cache channel keeps.
-- KEYS: kept. ARGV: what a node has of it ('': nothing), milliseconds for
-- which that is to be kept.
-- Returns it and the milliseconds that are left; nothing if there is nothing.
-- What the node has takes its place if it is later.
local kept = redis.call('GET', KEYS[1])
local function order(event) return tonumber(string.sub(event, 2, 17)) end
if ARGV[1] ~= '' and (not kept or order(ARGV[1]) > order(kept)) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return {ARGV[1], tonumber(ARGV[2])}
end
if not kept then return {} end
return {kept, redis.call('PTTL', KEYS[1])}
