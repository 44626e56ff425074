-- GET stats over a window that ends with the population's history; args[6] is the query.
local common = require "common"

function init(args)
  request = common.fill("GET /v1/users/" .. common.SLOT .. "/stats?" .. args[6]
    .. " HTTP/1.1\r\nHost: purser\r\n\r\n", args)
end
