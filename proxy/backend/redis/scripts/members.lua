-- The users of a channel in order of arrival, and their information.
-- KEYS: order, info.
local users = redis.call('ZRANGE', KEYS[1], 0, -1)
local infos = {}
for from = 1, #users, 1000 do
  local to = math.min(from + 999, #users)
  local part = redis.call('HMGET', KEYS[2], unpack(users, from, to))
  for i = 1, #part do infos[from + i - 1] = part[i] or '0' end
end
return {users, infos}
