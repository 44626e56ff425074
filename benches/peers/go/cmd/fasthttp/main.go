// Command fasthttp serves the API with fasthttp and sonic.
package main

import (
	"io"
	"log"
	"time"

	"github.com/bytedance/sonic"
	"github.com/valyala/fasthttp"

	"purser/peers/api"
	"purser/peers/cmd/internal/boot"
	"purser/peers/ledger"
)

func main() {
	h := &handler{service: api.New(ledger.New(), sonic.Unmarshal)}
	server := &fasthttp.Server{
		Handler:                      h.serve,
		ErrorHandler:                 h.refuse,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		MaxRequestBodySize:           api.MaxBody,
		ReadBufferSize:               16 << 10, // also the largest header
		IdleTimeout:                  2 * time.Minute,
		Logger:                       log.New(io.Discard, "", 0),
	}
	ln := boot.Listen()
	boot.Serve(ln, func() error { return server.Serve(ln) }, server.ShutdownWithContext)
}
