// A plain keep-alive client: GETs until the server refuses connections. Arguments: URL, pause in
// milliseconds, connections. Prints "requests N, errors M".
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	pause, _ := strconv.Atoi(os.Args[2])
	count, _ := strconv.Atoi(os.Args[3])
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: count}}
	var requests, failures atomic.Int64
	var all sync.WaitGroup
	for range count {
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				answer, err := client.Get(os.Args[1])
				if errors.Is(err, syscall.ECONNREFUSED) {
					return
				}
				if err == nil {
					_, err = io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
				}
				requests.Add(1)
				if err != nil || answer.StatusCode != 200 {
					failures.Add(1)
					fmt.Fprintln(os.Stderr, "error:", err, answer)
				}
				time.Sleep(time.Duration(pause) * time.Millisecond)
			}
		}()
	}
	all.Wait()
	fmt.Printf("requests %d, errors %d\n", requests.Load(), failures.Load())
}
