-- One exchange of one replica with the buckets of an account. Everything happens at one instant, by the server's clock.
--
-- KEYS: the members of the account; then, for each bucket, the bucket itself and the queue for it.
-- ARGV: this member's name, its share of the limits, the seconds of its lease, the seconds of a burst; then, for each
--       bucket, the units a minute, and how many are wanted, needed at the least, and returned.
-- Gives, for each bucket, how many are granted and after how many seconds to ask again for what is still needed.

-- What is kept here may have been written by anybody: what is no number, or an absurd one, counts as not there.
local function number(text)
  local found = tonumber(text)
  return found and found == found and math.abs(found) < 1e12 and found or nil
end

local members, me, lease_seconds, burst_seconds = KEYS[1], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

-- Each brings in its own share, for as long as it is heard of. Whoever is cut off has his own back when his lease has
-- ended here; so the parts are never more than the whole.
local live, shares = {}, 0
redis.call('HSET', members, me, ARGV[2] .. ' ' .. string.format('%.6f', now + lease_seconds))
redis.call('PEXPIRE', members, math.ceil(lease_seconds * 2000))
local leases = redis.call('HGETALL', members)
for i = 1, #leases, 2 do
  local share, ends_at = string.match(leases[i + 1], '^(%S+) (%S+)$')
  share, ends_at = number(share) or -1, number(ends_at) or 0
  if ends_at > now and ends_at <= now + 2 * lease_seconds and share >= 0 and share <= 1 then
    live[leases[i]] = true
    shares = shares + share
  else
    redis.call('HDEL', members, leases[i])
  end
end

-- What those need who have come to the queue before this one. Whoever is not heard of any more has left it.
local function needed_before_me(bucket, queue, burst)
  local sum = 0
  for _, other in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
    if other == me then
      break
    elseif live[other] then
      local needs = number(redis.call('HGET', bucket, 'needs:' .. other)) or 0
      sum = sum + math.max(0, math.min(burst, needs))
    else
      redis.call('ZREM', queue, other)
      redis.call('HDEL', bucket, 'needs:' .. other)
    end
  end
  return sum
end

local function line_up(bucket, queue, lacking)
  if lacking > 1e-6 then
    redis.call('ZADD', queue, 'NX', string.format('%.6f', now), me)
    redis.call('HSET', bucket, 'needs:' .. me, string.format('%.17g', lacking))
  else
    redis.call('ZREM', queue, me)
    redis.call('HDEL', bucket, 'needs:' .. me)
  end
end

local function exchange(bucket, queue, per_minute, wanted, needed, returned)
  local rate = per_minute / 60 * math.min(1, shares)
  local burst = math.max(1, rate * burst_seconds)
  local kept = redis.call('HMGET', bucket, 'level', 'filled_at')
  local level, filled_at = number(kept[1]) or 0, number(kept[2]) or now
  level = math.min(burst, level + rate * math.max(0, now - filled_at) + returned)

  -- Only the first in the queue is granted less than it needs: it saves up for a large call, and nobody else does, or
  -- several would go out in one instant.
  local before = needed_before_me(bucket, queue, burst)
  local free, amount = level - before, 0
  if before == 0 or free >= needed then
    amount = math.max(0, math.min(wanted, free))
  end
  level = level - amount
  local lacking = needed - amount
  line_up(bucket, queue, lacking)

  redis.call('HSET', bucket, 'level', string.format('%.17g', level), 'filled_at', string.format('%.6f', now))
  local seconds_to_fill = rate > 0 and (burst - level) / rate or 0
  for _, key in ipairs({bucket, queue}) do
    redis.call('PEXPIRE', key, math.ceil(1000 * (60 + math.min(seconds_to_fill, 86400))))
  end
  local wait_seconds = lacking > 1e-6 and (rate > 0 and (before + lacking - level) / rate or 1) or 0
  return string.format('%.17g', amount), string.format('%.6f', wait_seconds)
end

local answers = {}
for i = 1, (#KEYS - 1) / 2 do
  local asked = {}
  for j = 1, 4 do
    asked[j] = tonumber(ARGV[4 * i + j])
  end
  local amount, wait_seconds = exchange(KEYS[2 * i], KEYS[2 * i + 1], unpack(asked))
  answers[2 * i - 1], answers[2 * i] = amount, wait_seconds
end
return answers
