// Package boot has the common code of the servers' main functions.
package boot

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"
)

// grace is the time for requests in progress once the server is told to stop.
const grace = 3 * time.Second

var (
	address = flag.String("listen", "127.0.0.1:0", "`address` to listen on; port 0 takes a free one")
	profile = flag.String("cpuprofile", "", "`file` to write a CPU profile of the run to")
)

// Listen reads the flags and listens on the address that they give.
func Listen() net.Listener {
	flag.Parse()
	ln, err := net.Listen("tcp", *address)
	if err != nil {
		fail(err)
	}
	return ln
}

// Serve prints that the listener accepts connections and serves until SIGTERM
// or SIGINT. A server that stops early ends the process.
func Serve(ln net.Listener, serve func() error, shutdown func(context.Context) error) {
	stop, done := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer done()
	if *profile != "" {
		file, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(file)
		}
		if err != nil {
			fail(err)
		}
		defer pprof.StopCPUProfile()
	}
	failed := make(chan error, 1)
	go func() {
		if err := serve(); err != nil && stop.Err() == nil {
			failed <- err
		}
	}()
	fmt.Printf("listening on %s\n", ln.Addr())
	select {
	case err := <-failed:
		fail(err)
	case <-stop.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	// Connections still open after the grace period end with the process.
	_ = shutdown(ctx)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
