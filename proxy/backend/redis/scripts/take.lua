-- Takes from an app's share of what it may do per second.
-- KEYS: share. ARGV: least, most, per second, burst.
-- Returns how much it is: 0, or least to most.
-- The share is kept as the time at which it is whole again, in microseconds.
local least, most, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local whole = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
whole = math.min(whole, now + burst * 1000000 / rate) -- a limit that was raised, a clock that was put back
local granted = math.min(most, math.floor(burst - (whole - now) * rate / 1000000 + 0.001))
if granted < least then return 0 end
whole = whole + granted * 1000000 / rate
redis.call('SET', KEYS[1], string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000) + 1000)
return granted
