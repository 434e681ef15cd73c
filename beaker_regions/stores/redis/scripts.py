"""What a server does in one step: scripts in Lua, run by EVAL."""

ADD_GENERATION = b"""
local found = redis.call('GET', KEYS[1])
if found and (#found ~= #ARGV[1] or string.sub(found, -8) == string.sub(ARGV[1], -8)) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""
"""Store a generation, unless one of the same epoch or another value is there. Returns 1 or 0."""
REPLACE = b"""
if redis.call('GETRANGE', KEYS[1], 0, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], unpack(ARGV, 4))
return 1
"""
"""Store a value if the first bytes of the stored one are the given ones. Returns 1 or 0."""
DELETE_MANY = b"""
local lost = {}
for at, key in ipairs(KEYS) do
    if redis.call('GET', key) == ARGV[at] then
        redis.call('DEL', key)
    else
        lost[#lost + 1] = at - 1
    end
end
return lost
"""
"""Delete each key whose value is the given one. Returns the places of the others."""
SET_MANY = b"""
local stored = {}
for at, key in ipairs(KEYS) do
    if redis.pcall('SET', key, unpack(ARGV)).err then
        redis.call('DEL', key)
    else
        stored[#stored + 1] = at - 1
    end
end
return stored
"""
"""Store one value under many keys; a key whose value does not fit is deleted. Returns the places of
those that were stored."""
INCREASE = b"""
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
return redis.call('INCRBY', KEYS[1], ARGV[1])
"""
"""Add to a number that is there. Returns the sum, or nil."""
