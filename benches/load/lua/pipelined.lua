-- GET balance, args[7] requests sent at once. wrk counts that many answers for each string (it
-- parses the first string to learn the number); its latency is that of all of them together.
local common = require "common"

function init(args)
  local one = "GET /v1/users/" .. common.slot(args) .. "/balance HTTP/1.1\r\nHost: purser\r\n\r\n"
  request = common.fill(one:rep(tonumber(args[7])), args)
end
