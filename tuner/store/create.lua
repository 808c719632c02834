-- Create a study whole. KEYS: spec, studies. ARGV: name, spec, created (JSON). Returns 1, or 0 if there is one already.
if redis.call("SETNX", KEYS[1], ARGV[2]) == 0 then
  return 0
end
redis.call("HSET", KEYS[2], ARGV[1], ARGV[3])
return 1
