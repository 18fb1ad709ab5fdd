"""The Lua scripts of the journal in Redis: each runs in one step, on the stream alone.

``entries-added`` of the stream less its length is how many entries were removed.  ``entries-read``
of a group is the place that it has read up to, in the same count.  Entries that all groups have
confirmed are removed, so what is removed beyond that place was dropped because the stream was full.
"""

APPEND = """
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'fix', ARGV[i])
end
"""
"""Add the fixes ``ARGV[2]`` and so on, and drop the oldest beyond about ``ARGV[1]`` entries."""

_FIELDS = """
local function fields(reply)
  local found = {}
  for i = 1, #reply, 2 do found[reply[i]] = reply[i + 1] end
  return found
end
local function groups()
  local reply = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  local found = {}
  if not reply.err then
    for i = 1, #reply do found[i] = fields(reply[i]) end
  end
  return found
end
local function stream()
  local reply = redis.pcall('XINFO', 'STREAM', KEYS[1])
  if reply.err then return {['entries-added'] = 0, length = 0} end
  return fields(reply)
end
"""

READ = (
    _FIELDS
    + """
local name, consumer, limit, idle = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local before, group, created, lost = stream(), nil, 0, 0
local removed = before['entries-added'] - before.length
for _, each in ipairs(groups()) do if each.name == name then group = each end end
if not group then
  created = 1
  redis.call('XGROUP', 'CREATE', KEYS[1], name, '0', 'MKSTREAM', 'ENTRIESREAD', removed)
elseif group['entries-read'] and removed > group['entries-read'] then
  lost = removed - group['entries-read']
  redis.call('XGROUP', 'SETID', KEYS[1], name, group['last-delivered-id'], 'ENTRIESREAD', removed)
end
local found = {}
if idle > 0 then
  local claimed = redis.call(
    'XAUTOCLAIM', KEYS[1], name, consumer, idle, '0-0', 'COUNT', limit
  )
  for _, entry in ipairs(claimed[2]) do if entry then found[#found + 1] = entry end end
  lost = lost + #(claimed[3] or {})
end
if #found < limit then
  local read = redis.call(
    'XREADGROUP', 'GROUP', name, consumer, 'COUNT', limit - #found, 'STREAMS', KEYS[1], '>'
  )
  if read then
    for _, entry in ipairs(read[1][2]) do found[#found + 1] = entry end
  end
end
return {created, lost, found}
"""
)
"""Read up to ``ARGV[3]`` entries for the group ``ARGV[1]`` as the consumer ``ARGV[2]``; first those
that a consumer read more than ``ARGV[4]`` milliseconds ago, unless that is 0.  Returns whether the
group had to be created, how many entries were dropped before it read them, and the entries."""

CONFIRM = (
    _FIELDS
    + """
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
local function parts(id)
  local ms, number = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(number)
end
local low_ms, low_number
for _, each in ipairs(groups()) do
  local pending = redis.call('XPENDING', KEYS[1], each.name)
  local ms, number
  if pending[1] > 0 then
    ms, number = parts(pending[2])
  else
    ms, number = parts(each['last-delivered-id'])
    number = number + 1
  end
  if not low_ms or ms < low_ms or (ms == low_ms and number < low_number) then
    low_ms, low_number = ms, number
  end
end
if low_ms then
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', low_ms, low_number))
end
"""
)
"""Confirm the entries ``ARGV[2]`` and so on for the group ``ARGV[1]``, and remove those that every
group has confirmed."""

TEND = (
    _FIELDS
    + """
local now, gone, abandoned = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local mine = {}
for i = 4, #ARGV do mine[ARGV[i]] = true end
local before, waiting, dropped = stream(), 0, 0
local removed = before['entries-added'] - before.length
for _, each in ipairs(groups()) do
  local consumers, latest = redis.call('XINFO', 'CONSUMERS', KEYS[1], each.name), nil
  for i = 1, #consumers do
    consumers[i] = fields(consumers[i])
    if not latest or consumers[i].idle < latest.idle then latest = consumers[i] end
  end
  if not mine[each.name] and latest and latest.idle > abandoned then
    redis.call('XGROUP', 'DESTROY', KEYS[1], each.name)
    dropped = dropped + 1
  else
    for _, consumer in ipairs(consumers) do
      if consumer ~= latest and consumer.pending == 0 and consumer.idle > gone then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], each.name, consumer.name)
      end
    end
    if mine[each.name] then
      local unread = before.length
      if each['entries-read'] then
        unread = before['entries-added'] - math.max(each['entries-read'], removed)
      end
      waiting = math.max(waiting, math.min(each.pending + unread, before.length))
    end
  end
end
local oldest, lag = redis.pcall('XRANGE', KEYS[1], '-', '+', 'COUNT', 1), 0
if waiting > 0 and not oldest.err and oldest[1] then
  lag = math.max(0, now - tonumber(string.match(oldest[1][1], '%d+')))
end
return {before.length, waiting, lag, dropped}
"""
)
"""Remove consumers that have been gone for ``ARGV[2]`` milliseconds, and groups other than
``ARGV[4]`` and so on that nobody has read for ``ARGV[3]`` milliseconds.  Returns how many entries
the stream has, how many wait for the group that is furthest behind, the age of the oldest in
milliseconds before ``ARGV[1]``, and how many groups were removed."""

REMOVE = (
    _FIELDS
    + """
local function is_after(id, last)
  local ms, number = string.match(id, '(%d+)-(%d+)')
  local last_ms, last_number = string.match(last, '(%d+)-(%d+)')
  ms, last_ms = tonumber(ms), tonumber(last_ms)
  return ms > last_ms or (ms == last_ms and tonumber(number) > tonumber(last_number))
end
local before, removed = groups(), 0
for _, id in ipairs(ARGV) do
  if redis.call('XDEL', KEYS[1], id) == 1 then
    removed = removed + 1
    for _, each in ipairs(before) do
      if is_after(id, each['last-delivered-id']) then each.ahead = (each.ahead or 0) + 1 end
    end
  end
end
for _, each in ipairs(before) do
  if each.ahead and each['entries-read'] then
    local read = each['entries-read'] + each.ahead
    redis.call(
      'XGROUP', 'SETID', KEYS[1], each.name, each['last-delivered-id'], 'ENTRIESREAD', read
    )
  end
end
return removed
"""
)
"""Remove the entries ``ARGV[1]`` and so on, which then do not count as dropped; returns how many
there were."""
