-- The directory's decisions in Redis. A script runs as a whole: no two can interleave.
--
-- ARGV: command, arguments as JSON, and for `save` and `hand_over` the room's state.
-- Returns {answer as JSON} or {answer, state}. An answer with `refused` is a refusal.
--
-- nodes     hash   node -> {url, seats, rooms, draining}
-- leases    zset   node -> when its lease ends, ms
-- home      hash   room -> the node that has it; "" while it waits for one
-- info      hash   room -> its settings, as JSON
-- public    hash   room -> capacity, of rooms that quick play may choose
-- players   hash   room -> players, as its node last said
-- watching  hash   room -> spectators, likewise
-- reserved  hash   room -> seats held by tickets that its node has not counted yet
-- holding   hash   address, and "address room" -> tickets in `held`
-- held      zset   "room ticket" or "room ticket w" (to watch) -> when the ticket expires
-- arrived   zset   the same for used tickets, until the node counts their players
-- pending   zset   room -> until when somebody must have come, of rooms that nobody was in yet
-- closing   set    rooms that their node has been told to close
-- key:<key>        the room that was created under a client's key
-- state:<room>     the room's last shared checkpoint

local P = '{tickstorm}:'
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local a = cjson.decode(ARGV[2])

local LEASE, TICKET, ARRIVE, PENDING, KEY, STATE = unpack(a.times)

local function map(key)
  local flat, result = call('HGETALL', P .. key), {}
  for i = 1, #flat, 2 do result[flat[i]] = flat[i + 1] end
  return result
end

local function set_of(list)
  local result = {}
  for _, item in ipairs(list or {}) do result[item] = true end
  return result
end

local function drop(room)
  for _, key in ipairs({'home', 'info', 'public', 'players', 'watching', 'reserved'}) do
    call('HDEL', P .. key, room)
  end
  call('ZREM', P .. 'pending', room)
  call('SREM', P .. 'closing', room)
  call('DEL', P .. 'state:' .. room)
end

-- Every room's place and every node's load, as they are now.
local function survey()
  local s = {
    home = map('home'), public = map('public'), players = map('players'),
    reserved = map('reserved'), closing = set_of(call('SMEMBERS', P .. 'closing')), nodes = {},
  }
  local leases = call('ZRANGEBYSCORE', P .. 'leases', now, '+inf')
  for _, id in ipairs(leases) do
    local said = call('HGET', P .. 'nodes', id)
    if said then
      s.nodes[id] = cjson.decode(said)
      s.nodes[id].taken, s.nodes[id].count = 0, 0
    end
  end
  for room, id in pairs(s.home) do
    local node = s.nodes[id]
    if node then
      node.taken = node.taken + (s.players[room] or 0) + (s.reserved[room] or 0)
      node.count = node.count + 1
    end
  end
  return s
end

local function taken(s, room) return (s.players[room] or 0) + (s.reserved[room] or 0) end

-- The live node with the smallest share of its seats taken, or nil.
local function place(s, avoid, seats)
  local best, best_load
  for id, node in pairs(s.nodes) do
    if not node.draining and not avoid[id] and node.count < node.rooms
      and node.taken + seats <= node.seats then
      local load = node.taken / node.seats + node.count / 1e4
      if not best or load < best_load or (load == best_load and id < best) then
        best, best_load = id, load
      end
    end
  end
  return best
end

-- What stands for the address that a ticket was given to, or nil.
local function owner_of(ticket) return string.match(ticket, '^([^. ]+)%.') end

-- A ticket is held, or not any more.
local function count(room, ticket, by)
  local owner = owner_of(ticket)
  if not owner then return end
  for _, key in ipairs({owner, owner .. ' ' .. room}) do
    if call('HINCRBY', P .. 'holding', key, by) <= 0 then call('HDEL', P .. 'holding', key) end
  end
end

-- Do tickets of the same address hold their share already, of a room or (without) of all?
local function many(ticket, room, capacity)
  local owner = owner_of(ticket)
  if not owner then return false end
  local limit = room and math.max(2, math.floor(capacity / 2)) or a.tickets
  local key = room and owner .. ' ' .. room or owner
  return tonumber(call('HGET', P .. 'holding', key) or 0) >= limit
end

local function release(queue, member)
  if call('ZREM', P .. queue, member) == 1 and queue == 'held' then
    local room, ticket = string.match(member, '^(%S+) (%S+)')
    count(room, ticket, -1)
  end
  local room = string.match(member, '^%S+')
  if not string.find(member, ' w', 1, true) and call('HEXISTS', P .. 'home', room) == 1 then
    call('HINCRBY', P .. 'reserved', room, -1)
  end
end

-- Can another node open it: as it was last shared, or anew because nobody was in it yet?
local function lives_on(room)
  return call('EXISTS', P .. 'state:' .. room) == 1 or call('ZSCORE', P .. 'pending', room)
end

local function rehome(room, avoid)
  local target = place(survey(), avoid or {}, tonumber(call('HGET', P .. 'players', room) or 0))
  call('HSET', P .. 'home', room, target or '')
end

-- Whatever has run out: tickets, rooms that nobody came to, nodes that are silent.
local function sweep()
  for _, queue in ipairs({'held', 'arrived'}) do
    for _, member in ipairs(call('ZRANGEBYSCORE', P .. queue, '-inf', now)) do
      release(queue, member)
    end
  end
  for _, room in ipairs(call('ZRANGEBYSCORE', P .. 'pending', '-inf', now)) do drop(room) end
  -- When nobody could renew for a while, it was this Redis that was away: nobody is dead yet.
  local last = tonumber(call('GET', P .. 'beat') or 0)
  if now - last > LEASE / 2 then call('SET', P .. 'patience', now + LEASE, 'PX', LEASE) end
  call('SET', P .. 'beat', now)
  if call('EXISTS', P .. 'patience') == 1 then return end
  local dead = call('ZRANGEBYSCORE', P .. 'leases', '-inf', '(' .. now)
  for _, id in ipairs(dead) do
    call('ZREM', P .. 'leases', id)
    call('HDEL', P .. 'nodes', id)
  end
  for room, id in pairs(map('home')) do
    if id == '' or call('HEXISTS', P .. 'nodes', id) == 0 then
      if lives_on(room) then rehome(room) else drop(room) end
    end
  end
end

local function register(room, node, info, capacity)
  call('HSET', P .. 'home', room, node)
  call('HSET', P .. 'info', room, info)
  if capacity then call('HSET', P .. 'public', room, capacity) end
end

local function create(s, room, seats, avoid)
  local node = place(s, avoid, seats)
  if not node then return nil end
  register(room.id, node, room.info, room.capacity)
  call('ZADD', P .. 'pending', now + PENDING, room.id)
  return node
end

local function hold(s, room, ticket, watch)
  local member = room .. ' ' .. ticket
  if watch then
    member = member .. ' w'
  else
    s.reserved[room] = call('HINCRBY', P .. 'reserved', room, 1)
  end
  call('ZADD', P .. 'held', now + TICKET, member)
  count(room, ticket, 1)
end

local function found(s, room, node, more)
  local answer = more or {}
  answer.room, answer.node = room, node
  answer.url = s.nodes[node] and s.nodes[node].url or cjson.null
  answer.info = call('HGET', P .. 'info', room)
  answer.players = taken(s, room)
  answer.watching = tonumber(call('HGET', P .. 'watching', room) or 0)
  return answer
end

local commands = {}

function commands.beat()
  local mine, answer = set_of(), {open = {}, close = {}, lost = {}, reserved = {}}
  call('ZADD', P .. 'leases', now + LEASE, a.node)
  call('HSET', P .. 'nodes', a.node, a.about)
  for _, room in ipairs(a.closed) do
    if call('HGET', P .. 'home', room) == a.node then drop(room) end
  end
  for _, room in ipairs(a.rooms) do
    local home = call('HGET', P .. 'home', room.id)
    mine[room.id] = true
    if not home or home == '' then
      register(room.id, a.node, room.info, room.capacity)
      home = a.node
    end
    if home ~= a.node then
      table.insert(answer.lost, room.id)
    else
      if call('SISMEMBER', P .. 'closing', room.id) == 1 then table.insert(answer.close, room.id) end
      call('HSET', P .. 'players', room.id, room.players)
      call('HSET', P .. 'watching', room.id, room.watching)
      call('ZREM', P .. 'pending', room.id)
      for _, ticket in ipairs(room.arrived) do
        local member = room.id .. ' ' .. ticket
        if call('ZSCORE', P .. 'arrived', member) then release('arrived', member) end
      end
    end
  end
  sweep()
  for room, home in pairs(map('home')) do
    if home == a.node and not mine[room] and not call('ZSCORE', P .. 'pending', room) then
      if call('EXISTS', P .. 'state:' .. room) == 1 then
        table.insert(answer.open, room)
      else
        drop(room)
      end
    end
  end
  for room in pairs(mine) do
    answer.reserved[room] = tonumber(call('HGET', P .. 'reserved', room) or 0)
  end
  return answer
end

function commands.leave()
  call('ZREM', P .. 'leases', a.node)
  call('HDEL', P .. 'nodes', a.node)
  for room, home in pairs(map('home')) do
    if home == a.node then
      if lives_on(room) then rehome(room) else drop(room) end
    end
  end
  return {}
end

function commands.create()
  local before = call('GET', P .. 'key:' .. a.key)
  if before and call('HEXISTS', P .. 'home', before) == 1 then
    return found(survey(), before, call('HGET', P .. 'home', before), {created = false})
  end
  local node = create(survey(), a.room, 1, {})
  if not node then return {refused = 'no_node'} end
  call('SET', P .. 'key:' .. a.key, a.room.id, 'PX', KEY)
  return found(survey(), a.room.id, node, {created = true})
end

function commands.reserve()
  sweep()
  local s = survey()
  local id = s.home[a.room]
  if not id or s.closing[a.room] then return {refused = 'no_room'} end
  local node, avoid = s.nodes[id], set_of(a.avoid)
  if not node or avoid[id] then return {refused = 'away'} end
  local capacity = cjson.decode(call('HGET', P .. 'info', a.room)).settings.capacity
  if not a.watch and (taken(s, a.room) >= capacity or node.taken >= node.seats) then
    return {refused = 'full'}
  end
  if many(a.ticket) or many(a.ticket, a.room, capacity) then return {refused = 'many'} end
  hold(s, a.room, a.ticket, a.watch)
  return found(s, a.room, id)
end

function commands.quick()
  sweep()
  if many(a.ticket) then return {refused = 'many'} end
  local s, avoid = survey(), set_of(a.avoid)
  local best
  local function game_of(info) return cjson.decode(info).settings.game end
  local game = game_of(a.spare.info)
  for room, capacity in pairs(s.public) do
    local id = s.home[room]
    local node = s.nodes[id]
    if node and not node.draining and not avoid[id] and not s.closing[room]
      and taken(s, room) < tonumber(capacity) and node.taken < node.seats
      and not many(a.ticket, room, tonumber(capacity))
      and (not best or taken(s, room) > taken(s, best)
        or (taken(s, room) == taken(s, best) and room < best))
      and game_of(call('HGET', P .. 'info', room)) == game then
      best = room
    end
  end
  if not best and create(s, a.spare, 1, avoid) then
    best = a.spare.id
    s = survey()
  end
  if not best then return {refused = next(s.nodes) and 'full' or 'no_node'} end
  hold(s, best, a.ticket, a.watch)
  return found(s, best, s.home[best])
end

function commands.redeem()
  sweep()
  local home = call('HGET', P .. 'home', a.room)
  if not home then return {refused = 'no_room'} end
  if home ~= a.node then return {refused = 'elsewhere'} end
  for _, ending in ipairs({'', ' w'}) do
    local member = a.room .. ' ' .. a.ticket .. ending
    if call('ZREM', P .. 'held', member) == 1 then
      count(a.room, a.ticket, -1)
      call('ZADD', P .. 'arrived', now + ARRIVE, member)
      return {info = call('HGET', P .. 'info', a.room), watch = ending ~= ''}
    end
  end
  return {refused = 'ticket'}
end

function commands.find()
  local s = survey()
  if not s.home[a.room] or s.closing[a.room] then return {refused = 'no_room'} end
  return found(s, a.room, s.home[a.room])
end

function commands.rooms()
  local s, answer = survey(), {}
  for room in pairs(s.public) do
    if s.nodes[s.home[room]] and not s.closing[room] then
      table.insert(answer, found(s, room, s.home[room]))
    end
  end
  return answer
end

function commands.close()
  if call('HEXISTS', P .. 'home', a.room) == 0 then return {refused = 'no_room'} end
  call('SADD', P .. 'closing', a.room)
  -- Where nobody has come, no node will say that it is closed.
  call('ZADD', P .. 'pending', 'XX', now + ARRIVE, a.room)
  return {}
end

function commands.save()
  if call('HGET', P .. 'home', a.room) ~= a.node then return {refused = 'elsewhere'} end
  call('SET', P .. 'state:' .. a.room, ARGV[3], 'PX', STATE)
  return {}
end

function commands.hand_over()
  if call('HGET', P .. 'home', a.room) ~= a.node then return {refused = 'elsewhere'} end
  local s = survey()
  local target = place(s, {[a.node] = true}, taken(s, a.room))
  if not target then return {refused = 'no_node'} end
  call('SET', P .. 'state:' .. a.room, ARGV[3], 'PX', STATE)
  call('HSET', P .. 'home', a.room, target)
  return found(s, a.room, target)
end

function commands.fetch()
  if call('HGET', P .. 'home', a.room) ~= a.node then return {refused = 'elsewhere'} end
  return {info = call('HGET', P .. 'info', a.room)}, call('GET', P .. 'state:' .. a.room)
end

function commands.score()
  for name, points in pairs(a.scores) do call('ZADD', P .. 'scores', 'GT', points, name) end
  call('ZREMRANGEBYRANK', P .. 'scores', 0, -1001)
  return {}
end

function commands.top()
  local flat, answer = call('ZREVRANGE', P .. 'scores', 0, a.count - 1, 'WITHSCORES'), {}
  for i = 1, #flat, 2 do table.insert(answer, {flat[i], tonumber(flat[i + 1])}) end
  return answer
end

local answer, state = commands[ARGV[1]]()
return {cjson.encode(answer), state or nil}
