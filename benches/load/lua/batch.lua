-- POST batch: args[7] balances of different users per request.
local common = require "common"

function init(args)
  local item = '{"user_id":"' .. common.slot(args) .. '","read":"balance"},'
  local body = '{"requests":[' .. item:rep(tonumber(args[7])):sub(1, -2) .. ']}'
  request = common.fill("POST /v1/batch HTTP/1.1\r\nHost: purser\r\n"
    .. "Content-Type: application/json\r\nContent-Length: "
    .. #body .. "\r\n\r\n" .. body, args)
end
