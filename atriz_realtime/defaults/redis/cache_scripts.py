"""The Lua scripts of the cache, which Redis runs in one step each."""

from __future__ import annotations

# The timestamp of a location.  Timestamps are all UTC with milliseconds, so they sort as text.
# That of a value from another program that is not JSON, or no time, is empty.
TIME_OF = """
local function time_of(location)
  local ok, decoded = pcall(cjson.decode, location)
  local timestamp = ok and type(decoded) == 'table' and decoded.timestamp
  return type(timestamp) == 'string' and timestamp:match('^%d.*') or ''
end
"""

# Sets KEYS[1] to ARGV[1] for ARGV[2] seconds, unless it holds a location whose
# timestamp is later than ARGV[3].
PUT = f"""
{TIME_OF}
local held = redis.call('GET', KEYS[1])
if held and time_of(held) > ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

# Records in the index KEYS[1] that the id ARGV[1] expires at ARGV[2] (ms since the epoch).
# Each write also removes up to 16 entries that expired before ARGV[3], more than it
# adds, so the index never outgrows what is cached.  After ARGV[4] seconds without a
# write it expires as a whole.  Returns the id's expiry from before.
INDEX = """
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
local gone = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, 16)
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return before
"""

# Both scripts in one, on the keys KEYS[1] and KEYS[2], where one server has both.  ARGV is
# the location, its seconds and its timestamp, then the id, the expiry and now.  If there is a
# KEYS[3], it is set to the mark ARGV[7].
PUT_AND_INDEX = f"""
local function put(KEYS, ARGV) {PUT} end
local function index(KEYS, ARGV) {INDEX} end
if put({{KEYS[1]}}, {{ARGV[1], ARGV[2], ARGV[3]}}) == 1 then
  index({{KEYS[2]}}, {{ARGV[4], ARGV[5], ARGV[6], ARGV[2]}})
  if KEYS[3] then redis.call('SET', KEYS[3], ARGV[7], 'EX', ARGV[2]) end
end
return 1
"""

# Sets the expiry of the id ARGV[1] in the index KEYS[1] back to ARGV[3], or removes it when
# that is empty, unless the expiry is no longer ARGV[2].
RESTORE = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then
  if ARGV[3] == '' then redis.call('ZREM', KEYS[1], ARGV[1])
  else redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
end
return 1
"""

# Sets the mark KEYS[1] to ARGV[1] for ARGV[2] seconds, unless it is of a later time.
MARK_HELD = """
local held = redis.call('GET', KEYS[1])
if held and held:match('^%S*') > ARGV[1]:match('^%S*') then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

SENT = b" sent"
"""Follows the mark of a held location once it has been sent."""

# Adds that to the mark KEYS[1] if the mark is ARGV[1].
MARK_SENT = f"""
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1] .. '{SENT.decode()}', 'KEEPTTL')
end
return 1
"""

# Sets KEYS[1] to the location ARGV[1] for ARGV[2] seconds, unless it holds a newer one.
KEEP = f"""
{TIME_OF}
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[1] and time_of(held) > time_of(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

# The same for many entities of one type, with their index KEYS[1].  The other keys are pairs: the
# key of the current location, and where it is kept.  ARGV is the seconds, the expiry (ms since the
# epoch) and now, then the ids.  It removes more expired entries than it adds, and what another
# program has put under a key is not kept.
KEEP_ALL = f"""
local function keep(KEYS, ARGV) {KEEP} end
local kept = 0
for i = 2, #KEYS, 2 do
  local current = redis.pcall('GET', KEYS[i])
  if type(current) == 'string' and keep({{KEYS[i + 1]}}, {{current, ARGV[1]}}) == 1 then
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[i / 2 + 3])
    kept = kept + 1
  end
end
if kept == 0 then return 0 end
local gone = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, kept + 16)
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return kept
"""

# The location under KEYS[1]; nothing where another program has put something else.
LOCATION = """
local location = redis.pcall('GET', KEYS[1])
return type(location) == 'string' and location
"""

# The positions of those ids, ARGV[2] and so on, that are not in the index KEYS[1] or expired
# before ARGV[1].
ABSENT = """
local absent = {}
for i = 2, #ARGV do
  local expires = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if not expires or tonumber(expires) <= tonumber(ARGV[1]) then absent[#absent + 1] = i - 2 end
end
return absent
"""
