package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bytedance/sonic"
	"github.com/bytedance/sonic/ast"

	"purser/peers/ledger"
)

// benchService returns a service with users 1 to 1000, whose ids have the given
// form, each with three currencies and six groups over some days.
func benchService(tb testing.TB, form string) *Service {
	s := newService()
	var b strings.Builder
	var res Response
	for user := 1; user <= 1000; user++ {
		b.Reset()
		for i := range 60 {
			direction := "debit"
			if i%2 == 0 {
				direction = "credit"
			}
			fmt.Fprintf(&b, `{"entry_id":"%d","user_id":"%s","currency":"%s","kind":"%s",`+
				`"direction":"%s","amount":%d,"at_ms":%d}`+"\n",
				user*1000+i, fmt.Sprintf(form, user), []string{"COIN", "DIAMOND", "USD"}[i%3],
				[]string{"gift_sent", "topup"}[i/3%2], direction, i*7, testNow-int64(60-i)*3600_000)
		}
		if do(s, &res, "POST", "/v1/entries", b.String()); string(res.Body) != accepted(60) {
			tb.Fatalf("%s", res.Body)
		}
	}
	return s
}

// benchRead repeats one kind of read over changing users and checks the answers.
func benchRead(b *testing.B, form, read, query string) {
	s := benchService(b, form)
	var reqs []Request
	var want []string
	var res Response
	for user := 1; user <= 1000; user++ {
		id := fmt.Sprintf(form, user)
		req := Request{Method: "GET", Path: "/v1/users/" + id + "/" + read, RawQuery: query}
		s.Handle(&req, &res)
		if res.Status != 200 || !strings.HasPrefix(string(res.Body),
			`{"user_id":"`+id+`","version":60,`) || len(res.Body) < 200 {
			b.Fatalf("%d %s", res.Status, res.Body)
		}
		reqs = append(reqs, req)
		want = append(want, string(res.Body))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		n := i % len(reqs)
		s.Handle(&reqs[n], &res)
		if string(res.Body) != want[n] {
			b.Fatalf("got %s, want %s", res.Body, want[n])
		}
	}
	b.SetBytes(int64(len(res.Body)))
}

func BenchmarkBalance(b *testing.B) { benchRead(b, "%d", "balance", "") }

func BenchmarkBalanceText(b *testing.B) { benchRead(b, "users:%d", "balance", "") }

func BenchmarkStats24h(b *testing.B) {
	benchRead(b, "%d", "stats", "window=24h&at_ms=1763900000000")
}

func BenchmarkStatsLifetime(b *testing.B) {
	benchRead(b, "%d", "stats", "window=lifetime")
}

func BenchmarkBatch100(b *testing.B) {
	s := benchService(b, "%d")
	var items []string
	for i := range 50 {
		items = append(items, fmt.Sprintf(`{"user_id":"%d","read":"balance"}`, 1+i*13%1000),
			fmt.Sprintf(`{"user_id":"%d","read":"stats","window":"7d","kind":"gift_sent"}`, 1+i*17%1000))
	}
	req := Request{Method: "POST", Path: "/v1/batch", ContentType: "application/json",
		Body: []byte(`{"requests":[` + strings.Join(items, ",") + `]}`)}
	var res Response
	s.Handle(&req, &res)
	want := string(res.Body)
	if res.Status != 200 || strings.Count(want, `"user_id":`) != 100 {
		b.Fatalf("%d %s", res.Status, want)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(req.Body)))
	for b.Loop() {
		s.Handle(&req, &res)
		if string(res.Body) != want {
			b.Fatalf("got %s", res.Body)
		}
	}
}

// feedLines returns n entries of a thousand users, with UUIDs numbered from start.
func feedLines(start, n int) []byte {
	var b []byte
	for i := start; i < start+n; i++ {
		b = fmt.Appendf(b, `{"entry_id":"0192f0c1-7d3a-7cc1-9a55-%012x","user_id":"%d",`+
			`"currency":"COIN","kind":"gift_sent","direction":"debit","amount":%d,"at_ms":%d,`+
			`"state":"posted"}`+"\n",
			i, 1+i%1000, i%5000, testNow+int64(i/1000))
	}
	return b
}

// BenchmarkFeedLine feeds requests of a hundred new entries; the time is that of
// one entry.
func BenchmarkFeedLine(b *testing.B) {
	const lines = 100
	s := newService()
	want := accepted(lines)
	req := Request{Method: "POST", Path: "/v1/entries", ContentType: "application/x-ndjson"}
	var res Response
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += lines {
		b.StopTimer()
		req.Body = feedLines(done, lines)
		b.StartTimer()
		s.Handle(&req, &res)
		if string(res.Body) != want {
			b.Fatalf("got %s", res.Body)
		}
	}
}

// BenchmarkReadLine parses one line without applying it, and compares that with
// decoding it into a struct or walking it with the libraries, neither of which
// makes all checks of the contract.
func BenchmarkReadLine(b *testing.B) {
	line := feedLines(7, 1)
	line = line[:len(line)-1]
	text := string(line)
	type shape struct {
		EntryID   string  `json:"entry_id"`
		UserID    string  `json:"user_id"`
		Currency  *string `json:"currency"`
		Kind      *string `json:"kind"`
		Direction *string `json:"direction"`
		Amount    int64   `json:"amount"`
		AtMs      int64   `json:"at_ms"`
		State     *string `json:"state"`
		PendingID *string `json:"pending_id"`
	}
	strict := sonic.Config{DisallowUnknownFields: true, CaseSensitive: true,
		ValidateString: true}.Froze()
	decode := func(unmarshal Unmarshal) func() bool {
		return func() bool {
			var e shape
			return unmarshal(line, &e) == nil && e.UserID == "8" && e.Amount == 7
		}
	}
	var r reader
	var e ledger.Entry
	for _, c := range []struct {
		name string
		read func() bool
	}{
		{"scan", func() bool {
			_, f := r.entry(line, &e)
			return f.code == None && e.User.Number == 8 && e.Amount == 7
		}},
		{"sonic-struct", decode(strict.Unmarshal)},
		{"sonic-walk", func() bool {
			var w walker
			return ast.Preorder(text, &w, nil) == nil && w.tokens == 17
		}},
		{"encoding-json-struct", decode(json.Unmarshal)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				if !c.read() {
					b.Fatal("misread")
				}
			}
		})
	}
}

// walker counts what a walk visits: one object, and its names and values.
type walker struct{ tokens int }

func (w *walker) token() error                         { w.tokens++; return nil }
func (w *walker) OnNull() error                        { return w.token() }
func (w *walker) OnBool(bool) error                    { return w.token() }
func (w *walker) OnString(string) error                { return w.token() }
func (w *walker) OnInt64(int64, json.Number) error     { return w.token() }
func (w *walker) OnFloat64(float64, json.Number) error { return w.token() }
func (w *walker) OnObjectBegin(int) error              { return w.token() }
func (w *walker) OnObjectKey(string) error             { return w.token() }
func (w *walker) OnObjectEnd() error                   { return nil }
func (w *walker) OnArrayBegin(int) error               { return w.token() }
func (w *walker) OnArrayEnd() error                    { return nil }
