-- GET balance?at_ms=…, one user per request, and for each request the next instant of args[7]: all
-- instants, 13 digits each, without separators.
local ffi = require "ffi"
local common = require "common"

local WIDTH = 13

function init(args)
  local head = "GET /v1/users/" .. common.slot(args) .. "/balance?at_ms="
  local instants, count, pos = ffi.new("char[?]", #args[7] + 1), #args[7] / WIDTH, 0
  local at, copy = #head, ffi.copy
  copy(instants, args[7])
  request = common.fill(head .. args[7]:sub(1, WIDTH) .. " HTTP/1.1\r\nHost: purser\r\n\r\n", args,
    function(buffer)
      copy(buffer + at, instants + pos * WIDTH, WIDTH)
      pos = pos + 1
      if pos == count then pos = 0 end
    end)
end
