// Command nethttp serves the API with net/http and encoding/json.
package main

import (
	"encoding/json"
	"net/http"
	"time"

	"purser/peers/api"
	"purser/peers/cmd/internal/boot"
	"purser/peers/ledger"
)

func main() {
	server := &http.Server{
		Handler:                      &handler{service: api.New(ledger.New(), json.Unmarshal)},
		DisableGeneralOptionsHandler: true, // OPTIONS is judged like any method
		ReadHeaderTimeout:            10 * time.Second,
		IdleTimeout:                  2 * time.Minute,
	}
	ln := boot.Listen()
	boot.Serve(ln, func() error { return server.Serve(ln) }, server.Shutdown)
}
