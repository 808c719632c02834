-- Take a study's lease with a new fence, unless someone else holds it.
-- KEYS: lease, fence, control. ARGV: holder, lifetime in ms, the dead holder that may be replaced ("" for none).
-- Returns {"ok", fence} or {"held", holder, milliseconds until it expires}.
local held = redis.call("GET", KEYS[1])
if held == ARGV[1] then
  -- The reply to an earlier call was lost, and the driver asks again.
  return {"ok", redis.call("GET", KEYS[2])}
end
if held and held ~= ARGV[3] then
  return {"held", held, redis.call("PTTL", KEYS[1])}
end
local fence = redis.call("INCR", KEYS[2])
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
-- A stop that was meant for the last driver is not meant for this one.
redis.call("DEL", KEYS[3])
return {"ok", fence}
