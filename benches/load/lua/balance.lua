-- GET balance, one user per request.
local common = require "common"

function init(args)
  request = common.fill("GET /v1/users/" .. common.slot(args)
    .. "/balance HTTP/1.1\r\nHost: purser\r\n\r\n", args)
end
