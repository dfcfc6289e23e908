-- Notes that webhook receivers are told of a channel or a member.
-- KEYS: told, this call's answer, the answer to a departure that its asker has
-- not got. ARGV: entry, milliseconds for which answers are kept.
-- Returns 1 if receivers have to be told now: not if that departure was, as
-- nobody has told of it.
local answer = redis.call('GET', KEYS[2])
if answer then return tonumber(answer) end
local news = redis.call('SADD', KEYS[1], ARGV[1])
if redis.call('GET', KEYS[3]) == '1' then
  redis.call('DEL', KEYS[3])
  news = 0
end
redis.call('SET', KEYS[2], news, 'PX', ARGV[2])
return news
