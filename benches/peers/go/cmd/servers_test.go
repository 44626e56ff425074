// Package cmd tests the three servers as they are run: each as its own process,
// over its socket.
package cmd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var servers = []string{"nethttp", "fasthttp", "hertz"}

// start builds and starts a server and returns its address. The end of the test
// stops it and checks that it exits cleanly.
func start(t *testing.T, name string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary, "-listen", "127.0.0.1:0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		rest, _ := io.ReadAll(lines)
		if err := cmd.Wait(); err != nil || len(rest) > 0 || stderr.Len() > 0 {
			t.Errorf("%s ended with %v and said %q %q", name, err, rest, stderr.String())
		}
	})
	line, err := lines.ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "listening on ")
	if err != nil || !ok {
		t.Fatalf("%s said %q (%v)", name, line, err)
	}
	return address
}

// answer has the parts of an answer that the contract defines.
type answer struct {
	status            int
	contentType, body string
	headers           string // the names of all of them
	values            string // of those that only some answers have
}

// ask sends raw requests and reads one answer per method.
func ask(t *testing.T, address, raw string, methods ...string) []answer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go io.WriteString(conn, raw) // a server may answer before it has read all
	r := bufio.NewReader(conn)
	var answers []answer
	for _, method := range methods {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%.200q: %v", raw, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%.200q: %v", raw, err)
		}
		empty := res.StatusCode == 304 || res.StatusCode == 204
		if method == "HEAD" && res.ContentLength <= 0 && !empty {
			t.Errorf("%.200q: content length %d", raw, res.ContentLength)
		}
		h := res.Header
		names := slices.Sorted(maps.Keys(h))
		if res.ContentLength >= 0 && h.Get("Content-Length") == "" && !empty {
			t.Errorf("%.200q: no content length", raw)
		}
		var values []string
		for _, name := range []string{"Cache-Control", "Etag", "Allow", "Accept", "Accept-Encoding"} {
			values = append(values, h.Get(name))
		}
		answers = append(answers, answer{res.StatusCode, h.Get("Content-Type"), string(body),
			strings.Join(names, " "), strings.Join(values, "|")})
	}
	return answers
}

func get(method, target, more string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n"
}

func post(target, contentType, body string) string {
	const head = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
	return fmt.Sprintf(head, target, contentType, len(body), body)
}

func chunked(target, contentType string, chunks ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nTransfer-Encoding: "+
		"chunked\r\n\r\n", target, contentType)
	for _, c := range append(chunks, "") {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(c), c)
	}
	return b.String()
}

func entry(id int, state string) string {
	return fmt.Sprintf(`{"entry_id":"%d","user_id":"42","currency":"COIN","kind":"gift_sent",`+
		`"direction":"credit","amount":%d,"at_ms":1763900000000,"state":"%s"}`, id, id, state)
}

const (
	ndjson = "application/x-ndjson"
	plain  = "application/json"
)

func TestServersAgree(t *testing.T) {
	var feed strings.Builder
	for i := range 9_990 {
		feed.WriteString(entry(100+i, "posted"))
		feed.WriteByte('\n')
	}
	var batch strings.Builder
	batch.WriteString(`{"requests":[{"user_id":"42","read":"balance"}`)
	for i := range 999 {
		fmt.Fprintf(&batch, `,{"user_id":"%d","read":"stats","window":"24h","at_ms":1763900000000}`, i%50)
	}
	batch.WriteString("]}")

	type exchange struct {
		raw      string
		methods  []string
		statuses []int
	}
	one := func(raw string, status int) exchange {
		method, _, _ := strings.Cut(raw, " ")
		return exchange{raw, []string{method}, []int{status}}
	}
	exchanges := []exchange{
		// An empty ledger.
		one(get("GET", "/healthz", ""), 200),
		one(get("HEAD", "/readyz", ""), 200),
		one(get("GET", "/v1/users/42/balance", ""), 404),
		one(get("HEAD", "/v1/users/42/balance", ""), 404),

		// Feeding.
		one(post("/v1/entries", ndjson, ""), 200),
		one(post("/v1/entries", ndjson, entry(1, "posted")), 200),
		one(post("/v1/entries", "Application/X-NDJSON; charset=utf-8",
			entry(2, "pending")+"\n"+entry(1, "posted")+"\n\n"+entry(-5, "posted")), 422),
		one(post("/v1/entries", "application/ndjson", entry(1, "posted")), 200),
		one(post("/v1/entries", "application/JSONL; a=b", entry(1, "posted")), 200),
		one(chunked("/v1/entries", ndjson, entry(3, "posted")[:20], entry(3, "posted")[20:]+"\n",
			`{"entry_id":"\u0034","zzz":"\ud83d\ude00"}`), 422),
		one(chunked("/v1/entries", ndjson), 200),
		one(post("/v1/entries", ndjson,
			`{"entry_id":"5","user_id":"42","amount":1,"at_ms":1763900000000,"pending_id":"2"}`), 200),
		one(post("/v1/entries", ndjson, feed.String()), 200),
		one(post("/v1/entries", ndjson, feed.String()), 200), // all of them duplicates
		one(post("/v1/entries", ndjson, strings.Repeat("x\n", 10_001)), 413),
		one(post("/v1/entries", ndjson, strings.Repeat("\n \r\n\t\n", 10_001)), 200),
		one(post("/v1/entries", ndjson, "\n\n"+entry(1, "posted")+"\n \t\r\n{}\n"), 422),
		one(post("/v1/entries", ndjson,
			`{"entry_id":"6","user_id":"42","at_ms":1,"state":"voided"}`), 422),

		// Reading.
		one(get("GET", "/v1/users/42/balance", ""), 200),
		one(get("HEAD", "/v1/users/42/balance", ""), 200),
		one(get("GET", "/v1/users/42/balance?", ""), 200),
		one(get("GET", "http://elsewhere/v1/users/42/balance?currency=C%4fIN", ""), 200),
		one(get("GET", "/v1/users/42/balance?currency=EUR", ""), 200),
		one(get("GET", "/v1/users/42/balance", "If-None-Match: W/\"v9993\"\r\n"), 200),
		one(get("GET", "/v1/users/42/balance", "If-None-Match: \"v1\", W/\"v9994\"\r\n"), 304),
		one(get("GET", "/v1/users/42/balance", "if-none-match: \"v1\"\r\nIF-NONE-MATCH: \"v9994\"\r\n"),
			304),
		one(get("HEAD", "/v1/users/42/balance", "If-None-Match: *\r\n"), 304),
		one(get("GET", "/v1/users/42/stats?window=24h&at_ms=1763900000000", "If-None-Match: *\r\n"), 200),
		one(get("GET", "/v1/users/42/stats?window=lifetime&kind=gift_sent", ""), 200),
		one(get("GET", "/v1/users/42/balance", "Content-Length: 0\r\n"), 200),
		one("GET /v1/users/42/balance HTTP/1.2\r\nHost: x\r\n\r\n", 200),
		one(post("/v1/batch", plain, batch.String()), 200),
		one(chunked("/v1/batch", plain, batch.String()[:1000], batch.String()[1000:]), 200),
		one(post("/v1/batch", plain,
			`{"requests":[{"user_id":"42","read":"\u0062alance"},{"user_id":"9","read":"balance"}]}`), 200),

		one(get("GET", "/v1/users/42/balance", "If-Match: \"v9994\"\r\n"), 200),
		one(get("HEAD", "/v1/users/42/balance", "If-Match: \"v1\"\r\nif-match: \"v9994\"\r\n"), 200),
		one(get("GET", "/v1/users/42/balance", "If-Match: *\r\nIf-None-Match: *\r\n"), 304),
		one(get("GET", "/v1/users/42/balance", "If-Match: \"v1\"\r\nIf-None-Match: *\r\n"), 412),
		one(get("HEAD", "/v1/users/42/balance", "If-Match: W/\"v9994\"\r\n"), 412),
		one(get("GET", "/v1/users/42/balance", "If-Match:\r\n"), 412),
		one(get("GET", "/v1/users/42/stats?window=lifetime", "If-Match: \"v9994\"\r\n"), 412),
		one(get("GET", "/v1/users/42/stats?window=lifetime", "If-Match: *\r\n"), 200),
		one(get("GET", "/v1/users/9/balance", "If-Match: *\r\n"), 404),

		// Paths and parameters as they were sent.
		one(get("GET", "/v1//users/42/balance", ""), 404),
		one(get("GET", "//v1/users/42/balance", ""), 404),
		one(get("GET", "/v1/./users/42/balance", ""), 404),
		one(get("GET", "/x/../v1/users/42/balance", ""), 404),
		one(get("GET", "/v1/users/42/balance/", ""), 404),
		one(get("GET", "/v1/users/42/%62alance", ""), 200),
		one(get("GET", "/%76%31/u%73ers/%34%32/balance", ""), 200),
		one(get("HEAD", "/%68ealthz", ""), 200),
		one(get("GET", "/v1/users/42%2Fbalance", ""), 404),
		one(get("GET", "/v1%2fusers/42/balance", ""), 404),
		one(get("GET", "/v1/users/4%2F2/balance", ""), 400),
		one(get("GET", "/v1/users/%30%34%32/balance", ""), 404),
		one(get("GET", "/v1/users/%2e%2e/balance", ""), 400),
		one(get("GET", "/v1/users//balance", ""), 400),
		one(get("GET", "/v1/users/042/balance", ""), 404),
		one(get("GET", "/v1/users/./balance", ""), 400),
		one(get("GET", "/v1/users/%2E/stats?window=1h", ""), 400),
		one(get("GET", "/v1/users/../balance", ""), 400),
		one(get("GET", "/v1/users/*/balance", ""), 400),
		one(get("GET", "/v1/users/a%20b/balance", ""), 400),
		one(get("GET", "/v1/users/%C3%A9/balance", ""), 400),
		one(get("GET", "/v1/users/"+strings.Repeat("x", 64)+"/balance", ""), 404),
		one(get("GET", "/v1/users/"+strings.Repeat("x", 65)+"/balance", ""), 400),
		one(post("/v1/entries", ndjson, strings.Replace(entry(1, "posted"), "42", "a-b._~:@C", 1)+"\n"+
			strings.Replace(entry(1, "posted"), "42", "042", 1)+"\n"+
			strings.Replace(entry(1, "posted"), "42", "a b", 1)), 422),
		one(get("GET", "/v1/users/a-b._~:@C/balance", ""), 200),
		one(get("GET", "/v1/users/%61%2Db._%7e:@%43/balance?at_ms=1763900000000", ""), 200),
		one(get("GET", "/v1/users/042/stats?window=lifetime", ""), 200),
		one(post("/v1/batch", plain, `{"requests":[{"user_id":"a-b._~:@C","read":"balance"},`+
			`{"user_id":"042","read":"balance"},{"user_id":"0042","read":"balance"}]}`), 200),
		one(post("/v1/batch", plain, `{"requests":[{"user_id":"a/b","read":"balance"}]}`), 400),
		one(get("GET", "/v1/users/42/balance?currency=%", ""), 400),
		one(get("GET", "/v1/users/42/balance?currency=COIN;x=1", ""), 400),
		one(get("GET", "/v1/users/42/stats?window=+24h", ""), 400),
		one(get("GET", "/v1/users/42/stats", ""), 400),
		one(get("GET", "/healthz?x", ""), 400),
		one(get("GET", "/", ""), 404),

		// Methods.
		one(get("OPTIONS", "/v1/batch", ""), 204),
		one(get("OPTIONS", "/v1/users/x/stats?x", ""), 204),
		one(get("OPTIONS", "/readyz", "Transfer-Encoding: chunked\r\n")+"0\r\n\r\n", 204),
		one(get("OPTIONS", "/readyz", "Content-Length: 1\r\n")+"x", 413),
		one(get("OPTIONS", "*", ""), 204),
		one(get("OPTIONS", "*", "Content-Length: 1\r\n")+"x", 413),
		one(get("OPTIONS", "/nowhere", ""), 404),
		one(get("DELETE", "/v1/users/x/stats", ""), 405),
		one(get("DELETE", "/v1/users/x/stats", "Transfer-Encoding: chunked\r\n")+"0\r\n\r\n", 405),
		one(get("DELETE", "/v1/users/x/stats", "Content-Length: 1\r\n")+"x", 405),
		one(get("PUT", "/v1/entries", ""), 405),
		one(get("PUT", "/v1/entries", "Content-Length: 1\r\n")+"x", 405),
		one(get("PATCH", "/healthz", ""), 405),
		one(get("TRACE", "/v1/users/42/balance", ""), 405),
		one(get("BREW", "/v1/entries", ""), 501),
		one(get("get", "/nowhere", ""), 501),
		one(get("CONNECT", "example.org:443", ""), 501),
		one(get("CONNECT", "/healthz", ""), 501),
		one(get("GET", "/v1/entries?x", ""), 405),
		one(get("HEAD", "/v1/entries", ""), 405),

		// Bodies.
		one(get("POST", "/v1/entries", "Content-Type: "+ndjson+"\r\n"), 411),
		one(get("POST", "/v1/batch", "Content-Type: "+plain+"\r\n"), 411),
		one(get("POST", "/v1/batch", ""), 415),
		one(get("POST", "/v1/entries?x", ""), 400),
		one(get("POST", "/healthz", ""), 405),
		one(get("HEAD", "/v1/users/42/balance", "Transfer-Encoding: chunked\r\n")+"0\r\n\r\n", 200),
		one(get("HEAD", "/v1/users/42/balance", "Content-Length: 1\r\n")+"x", 413),
		one(get("GET", "/v1/users/42/balance", "Content-Length: 1\r\n")+"x", 413),
		one(get("GET", "/healthz", "Transfer-Encoding: chunked\r\n")+"1\r\nx\r\n0\r\n\r\n", 413),
		one(get("GET", "/healthz", "Transfer-Encoding: chunked\r\n")+"0\r\n\r\n", 200),
		one(post("/v1/batch", plain, strings.Repeat(" ", 256<<10+1)), 413),
		one(post("/v1/batch", plain, strings.Repeat(" ", 256<<10)), 400),
		one(post("/v1/entries", ndjson, strings.Repeat(" ", 8<<20+1)), 413),
		one(chunked("/v1/entries", ndjson, strings.Repeat(" ", 8<<20+1)), 413),
		one(post("/v1/entries", ndjson, strings.Repeat(" ", 8<<20)), 200),
		one(post("/v1/entries", plain, strings.Repeat(" ", 8<<20+1)), 415),
		one(post("/v1/batch", "multipart/form-data; boundary=x", "--x--\r\n"), 415),
		one(post("/v1/batch", "application/x-www-form-urlencoded", "a=b"), 415),
		one("POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 415),
		one("POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Type: "+
			"application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415),
		one("POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Type: "+
			"application/json\r\nContent-Encoding: Identity\r\nContent-Length: 15\r\n\r\n{\"requests\":[]}",
			200),

		// Requests that follow each other on a connection, sent at once.
		{get("GET", "/v1/users/42/balance", "") + post("/v1/entries", ndjson, entry(20, "posted")) +
			get("HEAD", "/v1/users/42/balance", "") +
			get("GET", "/nothing", "") + chunked("/v1/entries", ndjson, entry(21, "posted")) +
			get("GET", "/v1/users/42/balance", ""),
			[]string{"GET", "POST", "HEAD", "GET", "POST", "GET"}, []int{200, 200, 200, 404, 200, 200}},
	}

	want := make([][]answer, len(exchanges))
	for n, name := range servers {
		t.Run(name, func(t *testing.T) {
			address := start(t, name)
			for i, x := range exchanges {
				got := ask(t, address, x.raw, x.methods...)
				for j := range got {
					if got[j].status != x.statuses[j] {
						t.Errorf("%.200q: answer %d is %d %s", x.raw, j, got[j].status, got[j].body)
					}
				}
				if n == 0 {
					want[i] = got
				} else if !slices.Equal(got, want[i]) {
					t.Errorf("%.200q:\n%.2000v, but %s answers\n%.2000v", x.raw, got, servers[0], want[i])
				}
			}
		})
	}
	if t.Failed() {
		return
	}
	for i, x := range exchanges {
		for j, a := range want[i] {
			headers := []string{"Content-Length", "Content-Type", "Date"}
			if a.status == 304 || a.status == 204 {
				headers = []string{"Date"}
			}
			names := []string{"Cache-Control", "Etag", "Allow", "Accept", "Accept-Encoding"}
			for k, value := range strings.Split(a.values, "|") {
				if value != "" {
					headers = append(headers, names[k])
				}
			}
			slices.Sort(headers)
			if headers := strings.Join(headers, " "); a.headers != headers {
				t.Errorf("%.200q: answer %d has the headers %s, want %s", x.raw, j, a.headers, headers)
			}
		}
	}
}

// TestHeaders checks the values of the headers that only some answers have.
func TestHeaders(t *testing.T) {
	const text = "Content-Type: text/plain\r\nContent-Length: 0\r\n"
	for _, name := range servers {
		t.Run(name, func(t *testing.T) {
			address := start(t, name)
			ask(t, address, post("/v1/entries", ndjson, entry(1, "posted")), "POST")
			for _, c := range []struct {
				method, target, lines string
				want                  string
			}{
				{"GET", "/v1/users/42/balance", "", `200 no-cache|"v1"|||`},
				{"HEAD", "/v1/users/42/balance", "", `200 no-cache|"v1"|||`},
				{"GET", "/v1/users/42/balance", "If-None-Match: *\r\n", `304 no-cache|"v1"|||`},
				{"GET", "/v1/users/42/balance", "If-Match: \"v2\"\r\n", `412 no-cache||||`},
				{"GET", "/v1/users/42/balance?x", "", `400 ||||`},
				{"GET", "/v1/users/42/stats?window=1h", "", `200 no-cache||||`},
				{"GET", "/v1/users/7/balance", "", `404 no-cache||||`},
				{"GET", "/v1/users/7", "", `404 ||||`},
				{"GET", "/healthz", "", `200 ||||`},
				{"OPTIONS", "*", "", `204 ||GET, HEAD, POST, OPTIONS||`},
				{"OPTIONS", "/v1/batch", "", `204 ||POST, OPTIONS||`},
				{"PATCH", "/v1/users/42/balance", "", `405 ||GET, HEAD, OPTIONS||`},
				{"BREW", "/v1/users/42/balance", "", `501 ||||`},
				{"POST", "/v1/entries", text,
					`415 |||application/x-ndjson, application/ndjson, application/jsonl|`},
				{"POST", "/v1/batch", text, `415 |||application/json|`},
				{"POST", "/v1/batch", "Content-Encoding: br\r\nContent-Length: 0\r\nContent-Type: " + plain +
					"\r\n", `415 ||||identity`},
			} {
				a := ask(t, address, get(c.method, c.target, c.lines), c.method)[0]
				if got := fmt.Sprintf("%d %s", a.status, a.values); got != c.want {
					t.Errorf("%s %s: got %s, want %s", c.method, c.target, got, c.want)
				}
			}
		})
	}
}

// TestBadEscapes sends paths that net/http refuses itself.
func TestBadEscapes(t *testing.T) {
	for _, name := range servers[1:] {
		t.Run(name, func(t *testing.T) {
			address := start(t, name)
			for _, c := range []struct {
				method, target string
				status         int
				body           string
			}{
				{"GET", "/v1/users/%zz/balance", 400, `"code":"invalid_parameter"`},
				{"GET", "/v1/users/4%3/stats?x", 400, `"field":"user_id"`},
				{"GET", "/v1/users/42/balance%", 404, `"code":"not_found"`},
				{"GET", "/%/users/42/balance", 404, `"code":"not_found"`},
				{"PUT", "/v1/users/%/balance", 405, `"code":"method_not_allowed"`},
				{"OPTIONS", "/v1/users/%/balance", 204, ""},
			} {
				a := ask(t, address, get(c.method, c.target, ""), c.method)[0]
				if a.status != c.status || !strings.Contains(a.body, c.body) {
					t.Errorf("%s %s: got %d %s", c.method, c.target, a.status, a.body)
				}
			}
		})
	}
}

// TestContinue sends a body only when the server asks for it.
func TestContinue(t *testing.T) {
	for _, name := range servers {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", start(t, name))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			body := entry(1, "posted")
			fmt.Fprintf(conn, "POST /v1/entries HTTP/1.1\r\nHost: x\r\nContent-Type: "+
				"%s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", ndjson, len(body))
			r := bufio.NewReader(conn)
			if line, _ := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
				t.Fatalf("got %q", line)
			}
			if line, _ := r.ReadString('\n'); line != "\r\n" {
				t.Fatalf("got %q", line)
			}
			_, _ = io.WriteString(conn, body)
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(res.Body)
			if string(got) != `{"accepted":1,"duplicates":0,"rejected":0,"results":[]}` {
				t.Errorf("got %d %s", res.StatusCode, got)
			}
		})
	}
}
