-- Shared by the scripts: handing out user ids, filling request templates, and the result line that
-- the runner parses.
--
-- wrk has one thread and is the bottleneck of every suite, so a request costs only copies of a few
-- bytes into a prepared buffer, and one Lua string. Ids come from a mapped file of fixed-width
-- records, in shuffled order.

local ffi = require "ffi"
ffi.cdef [[
  int open(const char *path, int flags);
  void *mmap(void *at, size_t length, int protection, int flags, int fd, long offset);
]]
local O_RDWR, PROT_READ_WRITE, MAP_SHARED = 2, 3, 1

local common = {}

-- Placeholder of one id in a template. `args` come from the runner; see `fill`.
function common.slot(args)
  return string.rep("#", tonumber(args[6]))
end

local function map(path, bytes)
  local fd = ffi.C.open(path, O_RDWR)
  assert(fd >= 0, "cannot open a file of the runner")
  local at = ffi.C.mmap(nil, bytes, PROT_READ_WRITE, MAP_SHARED, fd, 0)
  assert(ffi.cast("intptr_t", at) ~= -1, "cannot map a file of the runner")
  return at
end

local function slots(text, slot)
  local found, from = {}, 1
  while true do
    local at = text:find(slot, from, true)
    if not at then break end
    found[#found + 1] = at - 1
    from = at + #slot
  end
  return ffi.new("int32_t[?]", #found, found), #found
end

-- Returns a `request` function for a template. `args` come from the runner: file of ids, number of
-- ids, first, stride, file of the call count, width of an id, and the script's own argument. First
-- and stride are drawn for each round; the stride is coprime to the number, so every round visits
-- all users in its own order. The calls are counted where the runner can read them at any time.
-- `change`, if given, is called with the buffer of each request.
function common.fill(text, args, change)
  local count, pos, stride = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
  local width, length = tonumber(args[6]), #text
  local ids = ffi.cast("const char *", map(args[1], count * width))
  local counter, calls = ffi.cast("double *", map(args[5], ffi.sizeof("double"))), 0
  local at, fields = slots(text, common.slot(args))
  local buffer = ffi.new("char[?]", length + 1)
  ffi.copy(buffer, text)
  local copy, string = ffi.copy, ffi.string
  return function()
    for i = 0, fields - 1 do
      copy(buffer + at[i], ids + pos * width, width)
      pos = pos + stride
      if pos >= count then pos = pos - count end
    end
    if change then change(buffer) end
    calls = calls + 1
    counter[0] = calls
    return string(buffer, length)
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    "purser-load requests=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d " ..
    "p50_us=%d p99_us=%d p999_us=%d\n",
    summary.requests, summary.bytes, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end

return common
