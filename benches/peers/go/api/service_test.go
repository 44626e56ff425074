package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"purser/peers/ledger"
)

const testNow = 1763900000000

// newService returns a service over an empty ledger with a fixed clock.
func newService() *Service {
	s := New(ledger.New(), json.Unmarshal)
	s.now = func() int64 { return testNow }
	return s
}

// do sends one request with the content type of its path.
func do(s *Service, res *Response, method, target, body string) *Response {
	req := Request{Method: method, Body: []byte(body)}
	req.Path, req.RawQuery = SplitTarget(target)
	switch req.Path {
	case "/v1/entries":
		req.ContentType = "application/x-ndjson"
	case "/v1/batch":
		req.ContentType = "application/json"
	}
	s.Handle(&req, res)
	return res
}

// post feeds lines and compares the answer.
func post(t *testing.T, s *Service, want string, lines ...string) {
	t.Helper()
	res := do(s, new(Response), "POST", "/v1/entries", strings.Join(lines, "\n"))
	status := 200
	if !strings.Contains(want, `"rejected":0,`) {
		status = 422
	}
	if got := string(res.Body); res.Status != status || res.ContentType != "application/json" ||
		got != want {
		t.Fatalf("got %d %s\n%s, want\n%s", res.Status, res.ContentType, got, want)
	}
}

// line returns an entry of user 42.
func line(id int, currency, kind, direction string, amount int64, atMs int64, state string) string {
	return fmt.Sprintf(`{"entry_id":"%d","user_id":"42","currency":"%s","kind":"%s",`+
		`"direction":"%s","amount":%d,"at_ms":%d,"state":"%s"}`,
		id, currency, kind, direction, amount, atMs, state)
}

func accepted(n int) string {
	return fmt.Sprintf(`{"accepted":%d,"duplicates":0,"rejected":0,"results":[]}`, n)
}

// rejected returns the answer to one line that is rejected.
func rejected(id, code, field, detail string) string {
	return fmt.Sprintf(`{"accepted":0,"duplicates":0,"rejected":1,"results":[{"index":0,`+
		`"entry_id":"%s","status":"rejected","code":"%s","field":"%s","detail":"%s"}]}`,
		id, code, field, detail)
}

func TestFeedAnswers(t *testing.T) {
	s := newService()
	entry := line(1, "COIN", "gift_sent", "debit", 5, testNow, "posted")
	post(t, s, accepted(0))
	post(t, s, accepted(1), entry)
	// Blank lines are not counted.
	post(t, s, `{"accepted":1,"duplicates":1,"rejected":1,"results":[`+
		`{"index":0,"entry_id":"1","status":"duplicate"},`+
		`{"index":2,"entry_id":"9","status":"rejected","code":"amount_negative","field":"amount",`+
		`"detail":"The amount is negative: send a positive one with direction debit or credit."}]}`,
		"", entry, line(2, "COIN", "gift_sent", "debit", 5, testNow, "posted"), " \t\r",
		line(9, "COIN", "gift_sent", "debit", -5, testNow, "posted"), "")
	for _, blank := range []string{"\n", " ", "\t\r\n\r", strings.Repeat(" ", maxLineBytes+1)} {
		post(t, s, accepted(0), blank)
	}
	for _, other := range []string{"\v", "\f", "\x00", "\u00a0"} {
		post(t, s, rejected("", "invalid_json", "", meanings[JSONNotObject].detail), other)
	}
	// 10,000 lines and blank ones beside them.
	full := strings.Repeat("\n \n"+entry, maxFeedLines)
	if res := do(s, new(Response), "POST", "/v1/entries", full); res.Status != 200 ||
		!strings.HasPrefix(string(res.Body), `{"accepted":0,"duplicates":10000,"rejected":0,`) {
		t.Errorf("10,000 lines: got %d %.200s", res.Status, res.Body)
	}
	if res := do(s, new(Response), "POST", "/v1/entries", full+"\nx"); res.Status != 413 {
		t.Errorf("10,001 lines: got %d %.200s", res.Status, res.Body)
	}
	post(t, s, `{"accepted":0,"duplicates":1,"rejected":0,"results":[{"index":0,"entry_id":"1",`+
		`"status":"duplicate"}]}`,
		strings.Replace(entry, `"1"`, `"\u0031"`, 1)+"\r")
}

// TestFeedTypes feeds a good and a bad line with each media type.
func TestFeedTypes(t *testing.T) {
	s := newService()
	for _, contentType := range []string{"application/x-ndjson", "application/ndjson",
		"application/jsonl", "Application/X-NDJSON;a=b", "APPLICATION/NDJSON ; a=b",
		" application/JsonL\t"} {
		for body, status := range map[string]int{"": 200, "{": 422} {
			var res Response
			s.Handle(&Request{Method: "POST", Path: "/v1/entries", ContentType: contentType,
				Body: []byte(body)}, &res)
			if res.Status != status || res.ContentType != "application/json" {
				t.Errorf("%q of %q: got %d %s", body, contentType, res.Status, res.ContentType)
			}
		}
	}
}

// TestVerdicts triggers each code of the feed and compares the whole answer.
func TestVerdicts(t *testing.T) {
	const day = 86400000
	details := map[string]string{
		"unknown_field": "This member is unknown.",
		"missing_field": "A required member is missing.",
		"invalid_field": "The member's value has the wrong type, format or range, or the " +
			"member is not allowed here.",
		"amount_negative": "The amount is negative: send a positive one with direction debit " +
			"or credit.",
		"entry_in_future": "The booking time is more than one hour ahead of this server's clock.",
		"entry_too_old": "The booking time lies before this user's dedup window: send it with " +
			"late=accept if it was never accepted.",
		"entry_id_conflict": "This user already has an entry with that id, with other fields or " +
			"with a hold that is still open.",
		"pending_not_found": "This user has no open hold with that id, and the line gives no " +
			"currency, kind and direction of its own.",
		"pending_mismatch": "The open hold with that id has another currency or another " +
			"direction.",
		"too_many_currencies": "This user already has 16 currencies.",
		"too_many_groups":     "This user already has 256 groups of currency, kind and direction.",
		"too_many_holds":      "This user already has 65,536 open holds.",
		"balance_overflow": "A balance, a pending sum or a lifetime sum would overflow a 64-bit " +
			"integer.",
	}
	one := line(1, "COIN", "gift_sent", "debit", 5, testNow, "posted")
	many := func(n int, f func(i int) string) (lines []string) {
		for i := range n {
			lines = append(lines, f(i))
		}
		return lines
	}
	for _, c := range []struct {
		before    []string
		line      string
		id        string
		code, fld string
	}{
		{nil, `{"a":1}`, "", "unknown_field", "a"},
		{nil, `{"entry_id":"9"}`, "9", "missing_field", "user_id"},
		{nil, `{"entry_id":9}`, "", "invalid_field", "entry_id"},
		{nil, line(9, "COIN", "gift", "debit", -5, testNow, "posted"), "9", "amount_negative", "amount"},
		{nil, line(9, "COIN", "gift", "debit", 5, testNow+3600001, "posted"), "9", "entry_in_future",
			"at_ms"},
		{[]string{one}, line(1, "COIN", "gift_sent", "debit", 5, testNow-day-1, "posted"), "1",
			"entry_too_old", "at_ms"},
		{[]string{one}, line(1, "COIN", "gift_sent", "debit", 6, testNow, "posted"), "1",
			"entry_id_conflict", "entry_id"},
		{[]string{one}, line(1, "COIN", "gift_sent", "debit", 5, testNow, "pending"), "1",
			"entry_id_conflict", "entry_id"},
		{[]string{one}, `{"entry_id":"9","user_id":"42","amount":5,"at_ms":` + fmt.Sprint(testNow) +
			`,"pending_id":"1"}`, "9", "pending_not_found", "pending_id"},
		{[]string{line(1, "COIN", "gift_sent", "debit", 5, testNow, "pending")},
			line(9, "COIN", "gift_sent", "credit", 6, testNow, `posted","pending_id":"1`), "9",
			"pending_mismatch", "pending_id"},
		{many(16, func(i int) string {
			return line(i, fmt.Sprintf("C%02d", i), "gift", "debit", 5,
				testNow, "pending")
		}),
			line(99, "COIN", "gift", "debit", 5, testNow, "posted"), "99", "too_many_currencies",
			"currency"},
		{many(256, func(i int) string {
			return line(i, "COIN", fmt.Sprintf("k%d", i), "debit", 5, testNow,
				"posted")
		}),
			line(999, "COIN", "k0", "credit", 5, testNow, "posted"), "999", "too_many_groups", "kind"},
		{many(65536, func(i int) string {
			return line(i, "COIN", "gift", "debit", 5, testNow,
				"pending")
		}),
			line(99999, "COIN", "gift", "debit", 5, testNow, "pending"), "99999", "too_many_holds", ""},
		{[]string{line(1, "COIN", "gift", "credit", 1<<63-1, testNow, "posted")},
			line(9, "COIN", "other", "credit", 1, testNow, "posted"), "9", "balance_overflow", "amount"},
	} {
		if len(c.before) > 10_000 && testing.Short() {
			continue
		}
		s := newService()
		for before := c.before; len(before) > 0; {
			n := min(len(before), 10_000)
			post(t, s, accepted(n), before[:n]...)
			before = before[n:]
		}
		post(t, s, rejected(c.id, c.code, c.fld, details[c.code]), c.line)
	}
}

// TestInvalidJSON triggers each reason of invalid_json and compares the whole
// answer.
func TestInvalidJSON(t *testing.T) {
	s := newService()
	for _, c := range []struct{ line, field, detail string }{
		{"\uFEFF{}", "", "The text begins with a byte order mark: send UTF-8 without one."},
		{"{\"\xff\"}", "", "The text is not valid UTF-8."},
		{`{`, "", "The text ends before its JSON object is complete."},
		{`[{}]`, "", "The text is not a JSON object."},
		{`{a:1}`, "", "A name, a colon, a value, a comma or a closing bracket is missing or misplaced."},
		{`{"a":01}`, "", "A number breaks the grammar of JSON, as 01, 1. and 0x1 do."},
		{"{\"a\":\"\t\"}", "", "A string has a control character that is not escaped."},
		{`{"a":"\x"}`, "", "A string has a backslash that begins no escape of JSON."},
		{`{"a":"\ud83d"}`, "", "A string has one half of a surrogate pair without the other."},
		{`{"a":` + nested(128) + `}`, "", "Objects and arrays are nested deeper than 128."},
		{`{}{}`, "", "More text follows the JSON object."},
		{`{"a":1,"a":1}`, "a", "The member is repeated."},
	} {
		post(t, s, rejected("", "invalid_json", c.field, c.detail), c.line)
		var res Response
		s.Handle(&Request{Method: "POST", Path: "/v1/batch", ContentType: jsonType,
			Body: []byte(c.line)}, &res)
		want := problem(400, "Bad Request", "invalid_json", c.detail, c.field)
		if got := string(res.Body); got != want {
			t.Errorf("%q: got %s, want %s", c.line, got, want)
		}
	}
}

func problem(status int, title, code, detail, field string) string {
	return fmt.Sprintf(`{"type":"about:blank","title":"%s","status":%d,"code":"%s","detail":"%s",`+
		`"field":"%s"}`, title, status, code, detail, field)
}

// TestProblems triggers each code of the service that has a status, and checks
// the precedence of failures.
func TestProblems(t *testing.T) {
	var (
		notFound     = problem(404, "Not Found", "not_found", "There is nothing at this path.", "")
		userNotFound = problem(404, "Not Found", "user_not_found",
			"No entry of this user has been accepted.", "")
		method = problem(405, "Method Not Allowed", "method_not_allowed",
			"This path does not support that method: see the allow header.", "")
		notImplemented = problem(501, "Not Implemented", "method_not_implemented",
			"This server does not implement the request's method.", "")
		noLength = problem(411, "Length Required", "length_required",
			"A POST or PUT needs a content-length or a chunked body.", "")
		tooLarge = problem(413, "Content Too Large", "content_too_large",
			"The body is larger than this path accepts.", "")
		parameter = func(field string) string {
			return problem(400, "Bad Request", "invalid_parameter",
				"A parameter is unknown, repeated, empty or has a value that is not allowed.", field)
		}
		mediaType = func(field string) string {
			return problem(415, "Unsupported Media Type", "unsupported_media_type",
				"Entries are accepted as application/x-ndjson, application/ndjson or "+
					"application/jsonl and a batch as application/json, all without a content coding.",
				field)
		}
		window = func(field string) string {
			return problem(400, "Bad Request", "invalid_window",
				"The window must be lifetime, or a multiple of 15m from 15m to 400d, such as 24h or 7d.", field)
		}
		items = func(field string) string {
			return problem(413, "Content Too Large", "too_many_items",
				"The body has more items than one request may have.", field)
		}
	)
	const (
		ndjson = "application/x-ndjson"
		plain  = "application/json"

		reads    = "allow: GET, HEAD, OPTIONS"
		posts    = "allow: POST, OPTIONS"
		entries  = "accept: application/x-ndjson, application/ndjson, application/jsonl"
		batches  = "accept: application/json"
		identity = "accept-encoding: identity"
		noCache  = "cache-control: no-cache"
		noBody   = "\x00" // in place of a body: there is no length
	)
	for _, c := range []struct {
		method, target, contentType, encoding, body string
		status                                      int
		headers, want                               string
	}{
		{"BREW", "/nowhere", "", "", "", 501, "", notImplemented},
		{"get", "/healthz", "", "", "", 501, "", notImplemented},
		{"Options", "*", "", "", "", 501, "", notImplemented},
		{"", "/healthz", "", "", "", 501, "", notImplemented},
		{"CONNECT", "example.org:443", "", "", "", 501, "", notImplemented},
		{"CONNECT", "/v1/users/1/balance", "", "", "x", 501, "", notImplemented},

		{"GET", "/", "", "", "", 404, "", notFound},
		{"GET", "", "", "", "", 404, "", notFound},
		{"GET", "*", "", "", "", 404, "", notFound},
		{"OPTIONS", "/", "", "", "", 404, "", notFound},
		{"OPTIONS", "/v1/users/1", "", "", "", 404, "", notFound},
		{"GET", "/v1", "", "", "", 404, "", notFound},
		{"GET", "/healthz/", "", "", "", 404, "", notFound},
		{"GET", "/HEALTHZ", "", "", "", 404, "", notFound},
		{"GET", "//healthz", "", "", "", 404, "", notFound},
		{"GET", "/./healthz", "", "", "", 404, "", notFound},
		{"GET", "/v1//users/1/balance", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1/%62alanc%", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1%2Fbalance", "", "", "", 404, "", notFound},
		{"GET", "/v1%2Fusers/1/balance", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1/balance%2F", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1/%2562alance", "", "", "", 404, "", notFound},
		{"GET", "/%zz", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1/", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1/balance/", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1/balance/x", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1/2/balance", "", "", "", 404, "", notFound},
		{"GET", "/v1/users/1/Balance", "", "", "", 404, "", notFound},
		{"DELETE", "/v2/entries?x", "", "gzip", "x", 404, "", notFound},

		{"POST", "/v1/users/x/balance?x", "", "", "x", 405, reads, method},
		{"DELETE", "/v1/users/1/stats", "", "", "", 405, reads, method},
		{"PUT", "/readyz?x", "", "", noBody, 405, reads, method},
		{"PATCH", "/v1/users/%zz/balance", "", "", "", 405, reads, method},
		{"TRACE", "/%68ealthz", "", "", "", 405, reads, method},
		{"GET", "/v1/entries?x", "", "", "x", 405, posts, method},
		{"HEAD", "/v1/batch", "", "", "", 405, posts, method},
		{"PUT", "/v1/entries", ndjson, "", "{}", 405, posts, method},

		{"GET", "/v1/users/%/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/%3/balance?x=1", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/1%zz/stats", "", "", "", 400, "", parameter("user_id")},
		{"HEAD", "/v1/users/1%2F2/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/%2E/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/.%2e/stats", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/./balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/../balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/*/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/a%2Ab/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/a%20b/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/a b/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/%00/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/é/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/%C3%A9/stats?window=1h", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/%2561/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/%2F/balance?at_ms=5", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/" + strings.Repeat("x", 65) + "/balance", "", "", "", 400, "",
			parameter("user_id")},
		{"GET", "/v1/users/" + strings.Repeat("%78", 65) + "/balance", "", "", "", 400, "",
			parameter("user_id")},
		{"GET", "/v1/users/%2531/balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/%C2%B9/%62alance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users//balance", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/*/stats?x=1", "", "", "x", 400, "", parameter("user_id")},
		{"GET", "/v1/users/+1/stats", "", "", "", 400, "", parameter("user_id")},
		{"GET", "/v1/users/1/balance?x=1", "", "", "x", 400, "", parameter("x")},
		{"GET", "/v1/users/1/stats?at_ms=5", "", "", "x", 400, "", window("window")},
		{"GET", "/healthz?x", "", "", "x", 400, "", parameter("x")},
		{"GET", "/readyz?currency=USD", "", "", "", 400, "", parameter("currency")},
		{"POST", "/v1/entries?window=1h", "", "gzip", "x", 400, "", parameter("window")},
		{"POST", "/v1/batch?%22", "", "gzip", "x", 400, "", parameter("")},

		{"POST", "/v1/entries", "", "", "", 415, entries, mediaType("content-type")},
		{"POST", "/v1/entries", "", "", noBody, 415, entries, mediaType("content-type")},
		{"POST", "/v1/entries", plain, "gzip", strings.Repeat("x", maxFeedBytes+1), 415, entries,
			mediaType("content-type")},
		{"POST", "/v1/entries", "application/json-lines", "", "", 415, entries,
			mediaType("content-type")},
		{"POST", "/v1/entries", "application/ndjson, application/jsonl", "", "", 415, entries,
			mediaType("content-type")},
		{"POST", "/v1/batch", "application/jsonl", "", "{}", 415, batches, mediaType("content-type")},
		{"POST", "/v1/batch", ndjson, "", "{}", 415, batches, mediaType("content-type")},
		{"POST", "/v1/batch", "application/jsonx", "", "{}", 415, batches, mediaType("content-type")},
		{"POST", "/v1/batch", "application/json, application/json", "", "{}", 415, batches,
			mediaType("content-type")},
		{"POST", "/v1/batch", plain, "gzip", "{}", 415, identity, mediaType("content-encoding")},
		{"POST", "/v1/batch", plain, "gzip", noBody, 415, identity, mediaType("content-encoding")},
		{"POST", "/v1/entries", ndjson, "identity, gzip", strings.Repeat("x", maxFeedBytes+1), 415,
			identity, mediaType("content-encoding")},

		{"POST", "/v1/entries", ndjson, "", noBody, 411, "", noLength},
		{"POST", "/v1/batch?", plain, "identity", noBody, 411, "", noLength},

		{"OPTIONS", "*", "", "", "x", 413, "", tooLarge},
		{"OPTIONS", "/v1/entries", ndjson, "", "x", 413, "", tooLarge},
		{"GET", "/v1/users/1/balance", "", "", "x", 413, "", tooLarge},
		{"HEAD", "/healthz", "", "", "x", 413, "", tooLarge},
		{"POST", "/v1/batch", plain, "", strings.Repeat(" ", maxBatchBytes+1), 413, "", tooLarge},
		{"POST", "/v1/entries", ndjson, "", strings.Repeat("\n", maxFeedBytes+1), 413, "", tooLarge},
		{"POST", "/v1/entries", ndjson, "", strings.Repeat("0\n", 10_001), 413, "", items("")},
		{"POST", "/v1/entries", ndjson, "", strings.Repeat("x\n \n", 10_000) + "x", 413, "",
			items("")},
		{"POST", "/v1/batch", plain, "", `{"requests":[` + strings.Repeat("0,", 1000) + `0]}`, 413, "",
			items("requests")},

		{"GET", "/v1/users/1/balance?currency=USD", "", "", "", 404, noCache, userNotFound},
		{"GET", "/v1/%75sers/%31/b%61lance", "", "", "", 404, noCache, userNotFound},
		{"GET", "/v1/users/%30%31/balance", "", "", "", 404, noCache, userNotFound},
		{"GET", "/v1/users/18446744073709551616/stats?window=1h", "", "", "", 404, noCache, userNotFound},
		{"GET", "/v1/users/.../balance?at_ms=5", "", "", "", 404, noCache, userNotFound},
		{"GET", "/v1/users/" + strings.Repeat("%78", 64) + "/balance", "", "", "", 404, noCache,
			userNotFound},
		{"HEAD", "/v1/users/1/stats?window=1h", "", "", "", 404, noCache, userNotFound},

		{"POST", "/v1/batch", plain, "", strings.Repeat(" ", maxBatchBytes), 400, "",
			problem(400, "Bad Request", "invalid_json",
				"The text ends before its JSON object is complete.", "")},
		{"POST", "/v1/batch", plain, "IDENTITY", `{"x":1}`, 400, "",
			problem(400, "Bad Request", "unknown_field", "This member is unknown.", "x")},
		{"POST", "/v1/batch", "Application/JSON ; charset=utf-8", "", `{}`, 400, "",
			problem(400, "Bad Request", "missing_field", "A required member is missing.", "requests")},
		{"POST", "/v1/batch", " application/json;", "", `{"requests":[0]}`, 400, "",
			problem(400, "Bad Request", "invalid_field",
				"The member's value has the wrong type, format or range, or the member is not allowed here.",
				"requests[0]")},
		{"POST", "/v1/batch", plain, "", `{"requests":[{"user_id":"1","read":"stats","window":"1"}]}`,
			400, "", window("requests[0].window")},
	} {
		s := newService()
		req := Request{Method: c.method, ContentType: c.contentType, ContentEncoding: c.encoding,
			Body: []byte(c.body)}
		if c.body == noBody {
			req.Body, req.LacksLength = nil, true
		}
		req.Path, req.RawQuery = SplitTarget(c.target)
		var res Response
		s.Handle(&req, &res)
		if res.Status != c.status || res.ContentType != "application/problem+json" ||
			headers(&res) != c.headers || string(res.Body) != c.want {
			t.Errorf("%s %s %.80q: got %d %s with %q\n%s, want %q\n%s", c.method, c.target, c.body,
				res.Status, res.ContentType, headers(&res), res.Body, c.headers, c.want)
		}
	}
}

// headers returns the headers that only some answers have, one a line.
func headers(res *Response) string {
	var lines []string
	if res.NoCache {
		lines = append(lines, "cache-control: no-cache")
	}
	for _, h := range [][2]string{{"etag", string(res.ETag)}, {"allow", res.Allow},
		{"accept", res.Accept}, {"accept-encoding", res.AcceptEncoding}} {
		if h[1] != "" {
			lines = append(lines, h[0]+": "+h[1])
		}
	}
	return strings.Join(lines, "\n")
}

// TestOptions asks for the methods of paths.
func TestOptions(t *testing.T) {
	const reads, posts = "allow: GET, HEAD, OPTIONS", "allow: POST, OPTIONS"
	for target, want := range map[string]string{
		"*":                     "allow: GET, HEAD, POST, OPTIONS",
		"/v1/users/1/balance":   reads,
		"/v1/users/x/balance?x": reads, // neither id nor query is judged
		"/v1/users/%/stats":     reads,
		"/healthz":              reads,
		"/readyz":               reads,
		"/v1/entries":           posts,
		"/v1/%62atch?x=1":       posts,
		"http://any/v1/batch":   posts,
	} {
		res := do(newService(), new(Response), "OPTIONS", target, "")
		if res.Status != 204 || res.ContentType != "" || len(res.Body) > 0 || headers(res) != want {
			t.Errorf("%s: got %d %s with %q %s", target, res.Status, res.ContentType, headers(res), res.Body)
		}
	}
}

func TestHasLength(t *testing.T) {
	for lines, want := range map[string]bool{
		"":                                 false,
		"\r\n":                             false,
		"Host: x\r\nContent-Length: 0\r\n": true,
		"CONTENT-LENGTH:0\r\n\r\n":         true,
		"host: x\r\ntransfer-encoding: chunked\r\n\r\n":   true,
		"X-Content-Length: 1\r\nA: content-length: 1\r\n": false,
	} {
		if HasLength([]byte(lines)) != want {
			t.Errorf("%q: got %t", lines, !want)
		}
	}
}

// TestHTTPProblems checks the codes that only an HTTP layer meets.
func TestHTTPProblems(t *testing.T) {
	for _, c := range []struct {
		code Code
		want string
	}{
		{MalformedRequest, problem(400, "Bad Request", "malformed_request",
			"The request is not well-formed HTTP/1.1.", "")},
		{RequestTimeout, problem(408, "Request Timeout", "request_timeout",
			"The rest of the request did not arrive in time.", "")},
		{ContentTooLarge, problem(413, "Content Too Large", "content_too_large",
			"The body is larger than this path accepts.", "")},
		{URITooLong, problem(414, "URI Too Long", "uri_too_long",
			"The request target is longer than this server accepts.", "")},
		{ExpectationFailed, problem(417, "Expectation Failed", "expectation_failed",
			"The only supported expectation is 100-continue.", "")},
		{HeaderFieldsTooLarge, problem(431, "Request Header Fields Too Large", "header_fields_too_large",
			"The header or trailer section is larger, or has more lines, than this server accepts.", "")},
		{MethodNotImplemented, problem(501, "Not Implemented", "method_not_implemented",
			"This server does not implement the request's method.", "")},
		{UnsupportedTransferCoding, problem(501, "Not Implemented", "unsupported_transfer_coding",
			"The only supported transfer coding is chunked.", "")},
		{Overloaded, problem(503, "Service Unavailable", "overloaded",
			"This server is overloaded: send the request again later.", "")},
		{Recovering, problem(503, "Service Unavailable", "recovering",
			"This server is still loading its data: send the request again soon.", "")},
		{Draining, problem(503, "Service Unavailable", "draining",
			"This server is shutting down: send the request elsewhere.", "")},
		{HTTPVersionNotSupported, problem(505, "HTTP Version Not Supported", "http_version_not_supported",
			"This server speaks HTTP/1.1 and HTTP/1.0.", "")},
		{InsufficientStorage, problem(507, "Insufficient Storage", "insufficient_storage",
			"This server is out of memory or disk space for new entries: send the request again later.",
			"")},
	} {
		res := Response{NoCache: true, ETag: []byte("x"), Allow: "x", Accept: "x", AcceptEncoding: "x",
			Body: []byte("x")}
		res.Refuse(c.code)
		if res.Status != meanings[c.code].status || headers(&res) != "" || string(res.Body) != c.want {
			t.Errorf("got %d\n%s, want\n%s", res.Status, res.Body, c.want)
		}
	}
	var res Response
	s := newService()
	s.Handle(&Request{Method: "POST", Path: "/v1/entries", ContentType: "application/x-ndjson",
		BodyTooLarge: true}, &res)
	if res.Status != 413 {
		t.Errorf("a body that is too large to read: got %d", res.Status)
	}
}

func TestReads(t *testing.T) {
	s := newService()
	var res Response
	post(t, s, accepted(4),
		line(1, "USD", "topup", "credit", 1000, testNow-2000, "posted"),
		line(2, "COIN", "gift_sent", "debit", 300, testNow-1000, "pending"),
		line(3, "COIN", "gift_sent", "debit", 500, testNow, "posted"),
		line(4, "COIN", "gift_sent", "debit", 0, testNow, "posted"))
	const (
		coin = `{"currency":"COIN","posted":-500,"pending_debits":300,"pending_credits":0,` +
			`"available":-800}`
		usd   = `{"currency":"USD","posted":1000,"pending_debits":0,"pending_credits":0,"available":1000}`
		head  = `{"user_id":"42","version":4,"as_of_ms":1763900000000,"balances":[`
		sHead = `{"user_id":"42","version":4,"from_ms":1763813700000,"to_ms":1763900100000,"stats":[`
		life  = `{"user_id":"42","version":4,"from_ms":0,"to_ms":1763900100000,"stats":[`
		gift  = `{"currency":"COIN","kind":"gift_sent","direction":"debit","count":2,"sum":500,` +
			`"min":0,"max":500}`
		topup = `{"currency":"USD","kind":"topup","direction":"credit","count":1,"sum":1000,` +
			`"min":1000,"max":1000}`
	)
	for _, c := range []struct{ target, etag, want string }{
		{"/v1/users/42/balance", `"v4"`, head + coin + "," + usd + "]}"},
		{"/v1/users/42/balance?", `"v4"`, head + coin + "," + usd + "]}"},
		{"http://any/v1/users/42/balance", `"v4"`, head + coin + "," + usd + "]}"},
		{"/v1/users/%34%32/balance", `"v4"`, head + coin + "," + usd + "]}"},
		{"/%76%31/u%73ers/4%32/%62alanc%65?", `"v4"`, head + coin + "," + usd + "]}"},
		{"/v1/users/%342/st%61ts?window=lifetime", "", life + gift + "," + topup + "]}"},
		{"/v1/users/42/balance?currency=USD", `"v4"`, head + usd + "]}"},
		{"/v1/users/42/balance?currency=EUR", `"v4"`, head + "]}"},
		{"/v1/users/42/stats?window=24h", "", sHead + gift + "," + topup + "]}"},
		{"/v1/users/42/stats?window=1d&at_ms=1763900000000", "", sHead + gift + "," + topup + "]}"},
		{"/v1/users/42/stats?window=lifetime", "", life + gift + "," + topup + "]}"},
		{"/v1/users/42/stats?window=lifetime&kind=topup", "", life + topup + "]}"},
		{"/v1/users/42/stats?window=lifetime&currency=COIN", "", life + gift + "]}"},
		{"/v1/users/42/stats?window=lifetime&currency=COIN&kind=topup", "", life + "]}"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			do(s, &res, method, c.target, "")
			if res.Status != 200 || res.ContentType != "application/json" || string(res.ETag) != c.etag ||
				!res.NoCache || string(res.Body) != c.want {
				t.Errorf("%s %s: got %d %s %s\n%s, want\n%s", method, c.target, res.Status, res.ContentType,
					res.ETag, res.Body, c.want)
			}
		}
	}

	do(s, &res, "POST", "/v1/batch",
		`{"requests":[{"user_id":"42","read":"balance"},{"user_id":"7","read":"balance"},`+
			`{"user_id":"42","read":"stats","window":"24h"},{"user_id":"42","read":"balance",`+
			`"currency":"USD"},{"user_id":"7","read":"stats","window":"lifetime"}]}`)
	missing := strings.TrimSuffix(problem(404, "Not Found", "user_not_found",
		"No entry of this user has been accepted.", ""), "}") + `,"user_id":"7"}`
	want := `{"responses":[` + head + coin + "," + usd + "]}," + missing + "," + sHead + gift + "," +
		topup + "]}," + head + usd + "]}," + missing + "]}"
	if res.Status != 200 || res.ContentType != "application/json" || headers(&res) != "" ||
		string(res.Body) != want {
		t.Errorf("batch: got %d %s\n%s, want\n%s", res.Status, res.ContentType, res.Body, want)
	}
	if do(s, &res, "POST", "/v1/batch", `{"requests":[]}`); string(res.Body) != `{"responses":[]}` {
		t.Errorf("empty batch: got %s", res.Body)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready"} {
		do(s, &res, "GET", path, "")
		if res.Status != 200 || res.ContentType != "text/plain; charset=utf-8" ||
			string(res.Body) != want {
			t.Errorf("%s: got %d %s %s", path, res.Status, res.ContentType, res.Body)
		}
	}
}

// TestUserIDs feeds users of all sorts of ids, one entry more to each, and reads
// them back by path and by batch, where the id is echoed.
func TestUserIDs(t *testing.T) {
	s := newService()
	var res Response
	users := []struct {
		id    string
		paths []string // other ways to write it in a path
	}{
		{"42", []string{"%34%32", "4%32"}},
		{"042", []string{"%30%34%32", "0%342"}},
		{"0042", nil},
		{"18446744073709551615", nil},
		{"18446744073709551616", nil},
		{"ab", []string{"%61b", "%61%62", "a%62"}},
		{"AB", []string{"%41%42"}},
		{"aB", nil},
		{"a-b", []string{"a%2Db", "a%2db"}},
		{"a.b", []string{"a%2Eb"}},
		{"a_b", []string{"a%5Fb"}},
		{"a~b", []string{"a%7Eb", "a%7eb"}},
		{"a:b", []string{"a%3Ab"}},
		{"a@b", []string{"a%40b"}},
		{"...", []string{"%2E%2E%2E", "..%2e"}},
		{"-", nil},
		{"balance", []string{"b%61lance"}},
		{"0192f0c1-7d3a-7cc1-9a55-0242ac120002", nil},
		{"0192F0C1-7D3A-7CC1-9A55-0242AC120002", nil},
		{strings.Repeat("x", 63), nil},
		{strings.Repeat("x", 64), []string{strings.Repeat("%78", 64)}},
	}
	var lines []string
	for i, u := range users {
		for j := range i + 1 {
			lines = append(lines, strings.Replace(line(j, "COIN", "gift", "credit", 1, testNow, "posted"),
				`"42"`, `"`+u.id+`"`, 1))
		}
	}
	post(t, s, accepted(len(lines)), lines...)

	var items, wants []string
	for i, u := range users {
		head := fmt.Sprintf(`{"user_id":"%s","version":%d,`, u.id, i+1)
		balance := fmt.Sprintf(`%s"as_of_ms":1763900000000,"balances":[{"currency":"COIN","posted":%d,`+
			`"pending_debits":0,"pending_credits":0,"available":%[2]d}]}`, head, i+1)
		past := head + `"as_of_ms":1763900000000,"at_ms":1763856000000,"balances":[{"currency":"COIN",` +
			`"posted":0}]}`
		stats := fmt.Sprintf(`%s"from_ms":0,"to_ms":1763900100000,"stats":[{"currency":"COIN",`+
			`"kind":"gift","direction":"credit","count":%d,"sum":%[2]d,"min":1,"max":1}]}`, head, i+1)
		for _, path := range append(u.paths, u.id) {
			for read, want := range map[string]string{
				"balance": balance, "balance?at_ms=1763856000000": past, "stats?window=lifetime": stats,
			} {
				target := "/v1/users/" + path + "/" + read
				if do(s, &res, "GET", target, ""); res.Status != 200 || string(res.Body) != want {
					t.Errorf("%s: got %d\n%s, want\n%s", target, res.Status, res.Body, want)
				}
			}
		}
		items = append(items, `{"user_id":"`+u.id+`","read":"balance"}`,
			`{"user_id":"`+u.id+`","read":"balance","at_ms":1763856000000}`,
			`{"user_id":"`+u.id+`","read":"stats","window":"lifetime"}`)
		wants = append(wants, balance, past, stats)
	}
	items = append(items, `{"user_id":"\u0061b","read":"balance"}`,
		`{"user_id":"00","read":"balance"}`,
		`{"user_id":"users:7","read":"stats","window":"1h"}`)
	wants = append(wants, wants[3*5])
	for _, id := range []string{"00", "users:7"} {
		wants = append(wants, strings.TrimSuffix(problem(404, "Not Found", "user_not_found",
			"No entry of this user has been accepted.", ""), "}")+`,"user_id":"`+id+`"}`)
	}
	do(s, &res, "POST", "/v1/batch", `{"requests":[`+strings.Join(items, ",")+`]}`)
	want := `{"responses":[` + strings.Join(wants, ",") + `]}`
	if res.Status != 200 || string(res.Body) != want {
		t.Errorf("batch: got %d\n%s, want\n%s", res.Status, res.Body, want)
	}
}

// TestUserIDIsCopied writes over a request once it is answered.
func TestUserIDIsCopied(t *testing.T) {
	s := newService()
	var res Response
	body := []byte(strings.Replace(line(1, "COIN", "gift", "credit", 1, testNow, "posted"), `"42"`,
		`"users:42"`, 1))
	s.Handle(&Request{Method: "POST", Path: "/v1/entries", ContentType: "application/x-ndjson",
		Body: body}, &res)
	clear(body)
	if do(s, &res, "GET", "/v1/users/users:42/balance", ""); res.Status != 200 {
		t.Errorf("got %d %s", res.Status, res.Body)
	}
}

func TestIfNoneMatch(t *testing.T) {
	s := newService()
	post(t, s, accepted(1), line(1, "USD", "topup", "credit", 1000, testNow, "posted"))
	for list, want := range map[string]int{
		"":                        200,
		`"v1"`:                    304,
		`W/"v1"`:                  304,
		` "v1" `:                  304,
		`*`:                       304,
		` * `:                     304,
		`"v0", "v1"`:              304,
		`"v0",W/"v1"`:             304,
		`,, "v0" ,, W/"v1", "v2"`: 304,
		`"a,b", "v1"`:             304,
		`"v0"`:                    200,
		`"v11"`:                   200,
		`v1`:                      200,
		`"v1`:                     200,
		`w/"v1"`:                  200,
		`"*"`:                     200,
		`*, "v0"`:                 200,
		`"v0" x "v1"`:             200,
		`"v0" "v1"`:               200,
		`"v1"x`:                   200,
		`"v1" "v0"`:               200,
		`"v1", x`:                 304,
		`"a b", "v1"`:             200,
		"\"\x7f\", \"v1\"":        200,
		"\"é\", \"v1\"":           304,
		`"", "v1"`:                304,
		`W/ "v1"`:                 200,
		`W/`:                      200,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			var res Response
			s.Handle(&Request{Method: method, Path: "/v1/users/42/balance", IfNoneMatch: list}, &res)
			if res.Status != want || string(res.ETag) != `"v1"` || !res.NoCache {
				t.Errorf("%s with %q: got %d %s", method, list, res.Status, res.ETag)
			}
			if (res.Status == 304) != (len(res.Body) == 0 && res.ContentType == "") {
				t.Errorf("%s with %q: got %d %s %q", method, list, res.Status, res.ContentType, res.Body)
			}
		}
	}
	// Statistics have no tag.
	var res Response
	s.Handle(&Request{Method: "GET", Path: "/v1/users/42/stats", RawQuery: "window=1h",
		IfNoneMatch: "*"}, &res)
	if res.Status != 200 || len(res.ETag) > 0 {
		t.Errorf("stats: got %d %s", res.Status, res.ETag)
	}
}

func TestIfMatch(t *testing.T) {
	s := newService()
	post(t, s, accepted(1), line(1, "USD", "topup", "credit", 1000, testNow, "posted"))
	const changed = `{"type":"about:blank","title":"Precondition Failed","status":412,` +
		`"code":"version_changed","detail":"None of the tags in if-match is the current tag.","field":""}`
	for list, want := range map[string]int{
		`"v1"`:                  200,
		` "v1" `:                200,
		`*`:                     200,
		` * `:                   200,
		`"v0", "v1"`:            200,
		`W/"v1", "v1"`:          200,
		`,, "v0" ,, "v1", W/"x`: 200,
		``:                      412,
		`,`:                     412,
		`W/"v1"`:                412,
		`"v0"`:                  412,
		`"v0", W/"v1"`:          412,
		`"v11"`:                 412,
		`v1`:                    412,
		`"v1`:                   412,
		`x, "v1"`:               412,
		`"v0" "v1"`:             412,
		`*, "v1"`:               412,
		`"v0", *`:               412,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, noneMatch := range []string{"", `"v1"`, "*"} {
				want := want
				if want == 200 && noneMatch != "" {
					want = 304
				}
				var res Response
				s.Handle(&Request{Method: method, Path: "/v1/users/42/balance", IfMatch: list,
					HasIfMatch: true, IfNoneMatch: noneMatch}, &res)
				headers := headers(&res)
				tag := want != 412
				if res.Status != want || !strings.HasPrefix(headers, "cache-control: no-cache") ||
					strings.Contains(headers, `etag: "v1"`) != tag ||
					want == 412 && string(res.Body) != changed {
					t.Errorf("%s with %q and %q: got %d with %q %s", method, list, noneMatch, res.Status, headers,
						res.Body)
				}
			}
		}
	}
	// Statistics have no tag, and a user that does not exist is not found.
	for _, c := range []struct {
		path, query, list string
		want              int
	}{
		{"/v1/users/42/stats", "window=1h", `*`, 200},
		{"/v1/users/42/stats", "window=1h", `"v1"`, 412},
		{"/v1/users/42/stats", "window=1h", ``, 412},
		{"/v1/users/42/stats", "window=1", `"v1"`, 400},
		{"/v1/users/42/balance", "currency=EUR", `"v1"`, 200},
		{"/v1/users/42/balance", "x", `"v0"`, 400},
		{"/v1/users/7/balance", "", `*`, 404},
		{"/v1/users/7/balance", "", `"v1"`, 404},
		{"/v1/users/7/stats", "window=1h", `"v1"`, 404},
		{"/healthz", "", `"v1"`, 200},
		{"/nowhere", "", `"v1"`, 404},
	} {
		var res Response
		s.Handle(&Request{Method: "GET", Path: c.path, RawQuery: c.query, IfMatch: c.list,
			HasIfMatch: true}, &res)
		if res.Status != c.want || c.want == 412 && string(res.Body) != changed {
			t.Errorf("%s with %q: got %d %s", c.path, c.list, res.Status, res.Body)
		}
	}
}

// TestBatchIsOneState reads one user many times in a batch while entries arrive:
// all of a batch's answers have one version.
func TestBatchIsOneState(t *testing.T) {
	s := newService()
	post(t, s, accepted(1), line(0, "USD", "topup", "credit", 1, testNow, "posted"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		var res Response
		for i := 1; i <= 3000; i++ {
			do(s, &res, "POST", "/v1/entries", line(i, "USD", "topup", "credit", 1, testNow, "posted"))
		}
	}()
	body := `{"requests":[` + strings.Repeat(`{"user_id":"42","read":"balance"},{"user_id":"7",`+
		`"read":"balance"},{"user_id":"42","read":"stats","window":"1h"},`, 100)
	body = strings.TrimSuffix(body, ",") + "]}"
	var res Response
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		do(s, &res, "POST", "/v1/batch", body)
		_, after, _ := strings.Cut(string(res.Body), `"version":`)
		version, _, _ := strings.Cut(after, ",")
		if n := strings.Count(string(res.Body),
			`{"user_id":"42","version":`+version+","); res.Status != 200 || n != 200 {
			t.Fatalf("only %d of 200 answers have version %s", n, version)
		}
	}
}
