// Command hertz serves the API with CloudWeGo Hertz, on its netpoll transport,
// and sonic.
package main

import (
	"time"

	"github.com/bytedance/sonic"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/common/hlog"

	"purser/peers/api"
	"purser/peers/cmd/internal/boot"
	"purser/peers/ledger"
)

func main() {
	hlog.SetLevel(hlog.LevelFatal)
	h := &handler{service: api.New(ledger.New(), sonic.Unmarshal)}
	ln := boot.Listen()
	engine := server.New(
		server.WithListener(ln),
		server.WithMaxRequestBodySize(api.MaxBody),
		server.WithMaxKeepBodySize(api.MaxBody),
		server.WithDisablePreParseMultipartForm(true),
		server.WithDisableDefaultContentType(true),
		server.WithDisablePrintRoute(true),
		server.WithIdleTimeout(2*time.Minute),
		server.WithKeepAliveTimeout(2*time.Minute),
		config.Option{F: func(o *config.Options) { o.NoDefaultServerHeader = true }},
	)
	engine.Use(h.serve)
	boot.Serve(ln, engine.Run, engine.Shutdown)
}
