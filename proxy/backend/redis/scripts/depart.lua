-- Forgets that webhook receivers were told of a channel or a member, unless it
-- is there.
-- KEYS: told, total, sockets, this call's answer. ARGV: entry, channel, '1'
-- for a member, user, milliseconds for which answers are kept.
-- Returns 1 if receivers have to be told now.
local there
if ARGV[3] == '1' then there = redis.call('HEXISTS', KEYS[3], ARGV[4])
else there = redis.call('HEXISTS', KEYS[2], ARGV[2]) end
if there == 0 then there = redis.call('HEXISTS', string.sub(KEYS[1], 1, -2) .. 'v', ARGV[1]) end -- at the upstream
if there == 1 then return 0 end
local answer = redis.call('GET', KEYS[4])
if answer then return tonumber(answer) end
local news = redis.call('SREM', KEYS[1], ARGV[1])
redis.call('SET', KEYS[4], news, 'PX', ARGV[5])
return news
