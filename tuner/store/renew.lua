-- Renew a lease while it is ours: nobody has drawn a fence since. An expired lease that nobody took is set again, so
-- that a search outlives an outage of Redis that is longer than the lease.
-- KEYS: lease, fence, control. ARGV: fence, holder, lifetime in ms.
-- Returns {"ok", control or ""} or {"lost"}.
if redis.call("GET", KEYS[2]) ~= ARGV[1] then
  return {"lost"}
end
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
return {"ok", redis.call("GET", KEYS[3]) or ""}
