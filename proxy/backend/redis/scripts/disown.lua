-- Gives up what a node owns. For a while it is remembered that it was owned.
-- KEYS: owner. ARGV: node, milliseconds.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], '', 'PX', ARGV[2]) end
return 1
