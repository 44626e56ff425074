-- GET stats over a window that ends with the population's history; args[7] is the query.
local common = require "common"

function init(args)
  request = common.fill("GET /v1/users/" .. common.slot(args) .. "/stats?" .. args[7]
    .. " HTTP/1.1\r\nHost: purser\r\n\r\n", args)
end
