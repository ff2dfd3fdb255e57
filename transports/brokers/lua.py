"""What Redis does in one piece for `RedisBroker`: two scripts, and the words in which they keep things.

`state` is a hash: `epoch`; `head`, the highest offset given; `run`, the `run_id` of the server that is known to have all
that was acknowledged; `durable`, whether that server would have it after a restart, and no other has this; `ms`, the highest
time in an id, which never goes back; `skip`, how many offsets the next event leaves out.

`log` is a stream for each epoch. An entry's id is `<milliseconds>-<offset>`, so that it can be trimmed by age; its fields are
`c`, the channel, `t`, microseconds since 1970, `d`, the data as they came, `a`, what it is about, and `p`, the offset before it
where that is not one less. So whoever reads an entry knows whether there was one before it that is gone.

`keys` has the keys of publishes in the order in which they came, `offsets` when that was and which offset it gave.
"""

PUBLISH = """\
-- KEYS state log keys offsets
-- ARGV epoch run seen total age window count channel data +about +key
-- Gives the id of the event's entry, or nothing: this is not the log that the caller has read.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'run', 'head', 'ms', 'skip')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] or tonumber(state[3]) < tonumber(ARGV[3]) then return false end

local time = redis.call('TIME')
local at = time[1] * 1000000 + time[2]
local now = math.floor(at / 1000)
local ms = math.max(now, tonumber(state[4]))
local channel, about, key = ARGV[8], ARGV[10], ARGV[11]
local since = ms - ARGV[6]

local function kept(member)  -- when it came, and which offset it got
  local when, offset = string.match(redis.call('HGET', KEYS[4], member) or '', '^(%d+) (%d+)$')
  return tonumber(when or 0), tonumber(offset)
end

local member = channel .. '\\0' .. key
if key ~= '' then
  redis.call('ZCARD', KEYS[3])  -- if it is somebody else's, that must be known before anything is written
  local when, offset = kept(member)
  if when >= since and offset then return string.format('%.0f-%.0f', when, offset) end
end

local skip = tonumber(state[5])
local offset = tonumber(state[3]) + 1 + skip
if offset > 9007199254740991 then return redis.error_reply('ERR there are no offsets left in this epoch') end
local number = string.format('%.0f', offset)
local id = string.format('%.0f-%s', ms, number)
local fields = {'c', channel, 't', string.format('%.0f', at), 'd', ARGV[9]}
if about ~= '' then fields[#fields + 1] = 'a'; fields[#fields + 1] = string.sub(about, 2) end
if skip > 0 then fields[#fields + 1] = 'p'; fields[#fields + 1] = state[3] end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], id, unpack(fields))
redis.call('HSET', KEYS[1], 'head', number, 'ms', string.format('%.0f', ms), 'skip', '0')
redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(0, now - ARGV[5])))
redis.call('PEXPIRE', KEYS[2], ARGV[5] + 60000)

if key ~= '' then
  redis.call('ZADD', KEYS[3], number, member)
  redis.call('HSET', KEYS[4], member, string.format('%.0f %s', ms, number))
  for _ = 1, 2 do  -- each brings one and takes away two, so they are bounded
    local oldest = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
    if redis.call('ZCARD', KEYS[3]) <= tonumber(ARGV[7]) and kept(oldest) >= since then break end
    redis.call('ZREM', KEYS[3], oldest)
    redis.call('HDEL', KEYS[4], oldest)
  end
  redis.call('PEXPIRE', KEYS[3], ARGV[6] + 1000)
  redis.call('PEXPIRE', KEYS[4], ARGV[6] + 1000)
end
return id
"""

JOIN = """\
-- KEYS state keys offsets
-- ARGV run epoch durable proven trusted skip mine seen entry log
-- Who comes has read of the epoch `mine`, through the offset `seen`, whose entry is `entry`. It learns the
-- epoch that is, its head, and why the epoch is a new one. That is `epoch`, and it begins if this is not surely the log
-- that was left.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'run', 'head', 'durable')
local known, head = state[1], tonumber(state[3] or 0)
local restarted = state[2] ~= ARGV[1]
local why = ''

local function missing(id)  -- whether the entry is not there, though some are that were before it
  local log = ARGV[10] .. known
  if id == '' or #redis.call('XRANGE', log, id, id) > 0 then return false end
  local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  return first and tonumber(string.match(first[1], '%d+$')) <= tonumber(string.match(id, '%d+$'))
end

if not known then
  why = 'nothing is there'
elseif restarted and ARGV[5] == '0' and not (state[4] == '1' and ARGV[4] == '1') then
  why = 'it was restarted or replaced, and may have lost what it had acknowledged'
elseif known == ARGV[7] and (head < tonumber(ARGV[8]) or missing(ARGV[9])) then
  why = 'it has lost what it had acknowledged'
end

if why ~= '' then
  if known then redis.call('DEL', ARGV[10] .. known) end
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'run', ARGV[1], 'head', '0', 'ms', '0', 'skip', '0', 'durable', ARGV[3])
  return {ARGV[2], '0', why}
end
if restarted then
  redis.call('HSET', KEYS[1], 'run', ARGV[1], 'durable', ARGV[3], 'skip', ARGV[6])
elseif state[4] ~= ARGV[3] then
  redis.call('HSET', KEYS[1], 'durable', ARGV[3])
end
return {known, state[3], ''}
"""
