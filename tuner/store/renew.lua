-- Renew a lease while it is ours: nobody has drawn a fence since. An expired lease that nobody took is set again, so
-- that a search outlives an outage of Redis that is longer than the lease.
-- KEYS: lease, fence, control. ARGV: fence, holder, lifetime in ms.
-- Returns {"ok", control: stop, stop-now, "" or "unknown"} or {"lost", current fence or ""}.
local fence = redis.call("GET", KEYS[2]) or ""
local held = redis.call("GET", KEYS[1])
-- A Redis that lost its newest writes may have given the same fence twice; the holders still differ.
if fence ~= ARGV[1] or (held and held ~= ARGV[2]) then
  return {"lost", fence}
end
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
-- Whatever else was put there must not look to the driver like a renewal that failed.
local asked = redis.pcall("GET", KEYS[3]) or ""
if asked ~= "" and asked ~= "stop" and asked ~= "stop-now" then
  asked = "unknown"
end
return {"ok", asked}
