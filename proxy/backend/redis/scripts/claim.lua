-- Notes that a node has entries of an app, for whoever may have to remove them.
-- KEYS: dead, apps. ARGV: app.
if redis.call('EXISTS', KEYS[1]) == 1 then return -1 end
redis.call('SADD', KEYS[2], ARGV[1])
return 1
