-- Keep a study's snapshot in place of the one before, under a fence.
-- KEYS: snapshot, fence. ARGV: fence, snapshot. Returns 1, or 0 if another driver came after this one.
if redis.call("GET", KEYS[2]) ~= ARGV[1] then
  return 0
end
redis.call("SET", KEYS[1], ARGV[2])
return 1
