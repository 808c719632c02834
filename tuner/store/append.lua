-- Append entries to a journal, once, under a fence.
-- KEYS: journal, fence. ARGV: fence, index of the first entry, then the entries.
-- Returns {"ok", length}, {"fence", current fence or ""}, or {"length", length} if the journal is not where the writer thinks.
local fence = redis.call("GET", KEYS[2]) or ""
if fence ~= ARGV[1] then
  return {"fence", fence}
end

local length = redis.call("LLEN", KEYS[1])
local index = tonumber(ARGV[2])
local count = #ARGV - 2

if length == index then
  -- One by one: unpack() of a long transition would overflow Lua's stack.
  for i = 3, #ARGV do
    redis.call("RPUSH", KEYS[1], ARGV[i])
  end
  return {"ok", length + count}
end

if length == index + count then
  -- The reply to an earlier call was lost, and the writer asks again.
  local applied = redis.call("LRANGE", KEYS[1], index, -1)
  for i = 1, count do
    if applied[i] ~= ARGV[i + 2] then
      return {"length", length}
    end
  end
  return {"ok", length}
end

return {"length", length}
