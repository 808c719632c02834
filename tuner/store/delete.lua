-- Delete a study, all but its fence, unless someone holds its lease.
-- KEYS: spec, journal, lease, control, fence, studies, job, snapshot. ARGV: name, the dead holder that may be ignored ("" for none).
-- Returns {"ok"} or {"held", holder, milliseconds until it expires}.
local held = redis.call("GET", KEYS[3])
if held and held ~= ARGV[2] then
  return {"held", held, redis.call("PTTL", KEYS[3])}
end
redis.call("DEL", KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[7], KEYS[8])
redis.call("HDEL", KEYS[6], ARGV[1])
-- A suspended driver whose lease expired must not find its fence still valid and write into nothing.
if redis.call("EXISTS", KEYS[5]) == 1 then
  redis.call("INCR", KEYS[5])
end
return {"ok"}
