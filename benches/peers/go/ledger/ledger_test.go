package ledger

import (
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
)

const (
	noon = 1_763_899_200_000 // a full hour
	late = math.MaxInt64     // a clock that no entry is ahead of
)

// post returns a posted credit of 10 COIN.
func post(id uint64, at int64) Entry {
	return Entry{ID: ID{0, id}, User: 42, Currency: "COIN", Kind: "topup", Amount: 10, AtMs: at}
}

// but returns a changed entry.
func but(e Entry, change func(*Entry)) Entry {
	change(&e)
	return e
}

func pending(id uint64, d Direction, amount, at int64) Entry {
	return Entry{ID: ID{0, id}, User: 42, Currency: "COIN", Kind: "gift", Direction: d, Amount: amount,
		AtMs: at, Action: Hold}
}

func settle(id, hold uint64, amount, at int64) Entry {
	return Entry{ID: ID{0, id}, User: 42, Amount: amount, AtMs: at, Action: Settle, Hold: ID{0, hold}}
}

func void(id, hold uint64, at int64) Entry {
	return Entry{ID: ID{0, id}, User: 42, AtMs: at, Action: Void, Hold: ID{0, hold}}
}

func TestVerdicts(t *testing.T) {
	type step struct {
		entry Entry
		want  Verdict
	}
	max63 := func(e *Entry) { e.Amount = math.MaxInt64 }
	debit := func(e *Entry) { e.Direction = Debit }
	tests := []struct {
		name  string
		steps []step
	}{
		{"repeated", []step{
			{post(1, noon), Accepted},
			{post(1, noon), Duplicate},
			{but(post(1, noon), func(e *Entry) { e.Amount++ }), EntryIDConflict},
			{but(post(1, noon), func(e *Entry) { e.AtMs++ }), EntryIDConflict},
			{but(post(1, noon), func(e *Entry) { e.Kind = "other" }), EntryIDConflict},
			{but(post(1, noon), func(e *Entry) { e.Currency = "DIAMOND" }), EntryIDConflict},
			{but(post(1, noon), debit), EntryIDConflict},
			{but(post(1, noon), func(e *Entry) { e.Action = Hold }), EntryIDConflict},
			{settle(1, 1, 10, noon), EntryIDConflict},
			{but(post(1, noon), func(e *Entry) { e.ID.Hi = 1 }), Accepted},
			{but(post(1, noon), func(e *Entry) { e.User = 43 }), Accepted},
		}},
		{"in the future", []step{
			{post(1, noon+2*hourMs+1), EntryInFuture},
			{post(1, noon+2*hourMs), Accepted},
			{post(1, noon+2*hourMs+1), EntryInFuture},
		}},
		{"forgotten", []step{
			{post(1, noon-dayMs), Accepted},
			{post(2, noon), Accepted},
			{post(1, noon-dayMs), Duplicate},
			{post(1, noon-dayMs-1), EntryTooOld},
			{post(3, noon+1), Accepted},
			{post(1, noon-dayMs), EntryTooOld},
			{post(1, noon-dayMs+1), Accepted},
			{post(1, noon-dayMs+1), Duplicate},
			{post(1, noon-dayMs+2), EntryIDConflict},
			{post(4, noon+2), Accepted},
			{post(1, noon-dayMs+2), Accepted},
		}},
		{"holds", []step{
			{settle(2, 1, 0, noon), PendingNotFound},
			{pending(1, Debit, 100, noon), Accepted},
			{settle(2, 1, 101, noon), PendingAmountExceeded},
			{settle(1, 1, 100, noon), EntryIDConflict},
			{settle(2, 1, 60, noon), Accepted},
			{settle(2, 1, 60, noon), Duplicate},
			{settle(2, 1, 61, noon), EntryIDConflict},
			{settle(2, 3, 60, noon), EntryIDConflict},
			{void(2, 1, noon), EntryIDConflict},
			{settle(3, 1, 40, noon), PendingNotFound},
			{pending(1, Debit, 100, noon), Duplicate},
			{pending(4, Credit, 0, noon), Accepted},
			{void(5, 4, noon), Accepted},
			{void(5, 4, noon), Duplicate},
			{void(6, 4, noon), PendingNotFound},
		}},
		{"an old hold", []step{
			{pending(1, Debit, 100, noon-3*dayMs), Accepted},
			{post(2, noon), Accepted},
			{post(1, noon), EntryIDConflict},
			{pending(1, Debit, 100, noon), EntryIDConflict},
			{pending(1, Debit, 100, noon-3*dayMs), EntryTooOld},
			{settle(3, 1, 100, noon), Accepted},
			{post(1, noon), Accepted},
		}},
		{"overflow", []step{
			{but(post(1, noon), max63), Accepted},
			{post(2, noon), BalanceOverflow},
			{but(post(2, noon), func(e *Entry) { e.Kind = "other" }), BalanceOverflow},
			{but(post(3, noon), func(e *Entry) { e.Direction = Debit; e.Amount = math.MaxInt64 }), Accepted},
			{post(4, noon), BalanceOverflow}, // the sum
			{but(post(4, noon), debit), BalanceOverflow},
			{but(post(4, noon), func(e *Entry) { e.Kind = "other" }), Accepted},
			{but(post(5, noon), func(e *Entry) { e.Amount = 0 }), Accepted},
		}},
		{"overflow of what is pending or available", []step{
			{pending(1, Debit, math.MaxInt64, noon), Accepted},
			{pending(2, Debit, 1, noon), BalanceOverflow},
			{pending(3, Credit, math.MaxInt64, noon), Accepted},
			{pending(4, Credit, 1, noon), BalanceOverflow},
			{but(post(5, noon), func(e *Entry) { e.Direction = Debit; e.Amount = 1 }), Accepted},
			{but(post(6, noon), func(e *Entry) { e.Direction = Debit; e.Amount = 1 }), BalanceOverflow},
			{settle(7, 1, math.MaxInt64, noon), Accepted},
			{but(post(8, noon), func(e *Entry) { e.Direction = Debit; e.Amount = 1 }), BalanceOverflow},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := New()
			var before, after Balances
			for i, s := range test.steps {
				l.Balances(s.entry.User, &before)
				got := l.Apply(noon+hourMs, &s.entry)
				if got != s.want {
					t.Fatalf("step %d: got %d, want %d", i, got, s.want)
				}
				known := l.Balances(s.entry.User, &after)
				if got == Accepted {
					if after.Version != before.Version+1 && after.Version != 1 {
						t.Fatalf("step %d: version %d after %d", i, after.Version, before.Version)
					}
				} else if known && !reflect.DeepEqual(before, after) {
					t.Fatalf("step %d: rejected, but %+v became %+v", i, before, after)
				}
			}
		})
	}
}

func TestRejectedUserStaysUnknown(t *testing.T) {
	l := New()
	e := settle(1, 2, 0, noon)
	if got := l.Apply(late, &e); got != PendingNotFound {
		t.Fatalf("got %d", got)
	}
	if l.Balances(42, new(Balances)) || l.Stats(42, new(Question), new(Stats)) {
		t.Fatal("a rejected entry made a user")
	}
}

func TestBalances(t *testing.T) {
	l := New()
	for i, e := range []Entry{
		post(1, noon),
		pending(2, Debit, 100, noon+5),
		pending(3, Credit, 7, noon+4),
		but(post(4, noon), func(e *Entry) { e.Currency, e.Direction = "ABC", Debit }),
		settle(5, 2, 60, noon+3),
		pending(6, Debit, 3, noon+2),
		but(pending(7, Debit, 3, noon+1), func(e *Entry) { e.Currency = "ZZZ" }),
		void(8, 7, noon),
	} {
		if got := l.Apply(late, &e); got != Accepted {
			t.Fatalf("entry %d: %d", i, got)
		}
	}
	var got Balances
	if !l.Balances(42, &got) || l.Balances(7, &got) {
		t.Fatal("wrong users are known")
	}
	want := Balances{8, noon + 5, []Balance{
		{"ABC", -10, 0, 0, -10},
		{"COIN", -50, 3, 7, -53},
		{"ZZZ", 0, 0, 0, 0},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("\n got %+v\nwant %+v", got, want)
	}
}

func TestSpan(t *testing.T) {
	const midnight = 1_763_856_000_000
	const n = midnight + 10*hourMs + 7*60_000
	tests := []struct {
		name             string
		asOf, at, window int64
		from, to         int64
	}{
		{"now", n, n, dayMs, midnight - 14*hourMs + bucketMs, midnight + 10*hourMs + bucketMs},
		{"on an edge", n, midnight, bucketMs, midnight, midnight + bucketMs},
		{"end of a bucket", n, midnight - 1, bucketMs, midnight - bucketMs, midnight},
		{"from in the hours", n, n, 27 * hourMs, midnight - 17*hourMs, midnight + 10*hourMs + bucketMs},
		{"from on the first bucket", n, midnight + 10*hourMs - 1, 26 * hourMs, midnight - 16*hourMs,
			midnight + 10*hourMs},
		{"both in the hours", n, midnight - 2*dayMs + 20*60_000, bucketMs, midnight - 2*dayMs,
			midnight - 2*dayMs + hourMs},
		{"from in the days", n, n, 9 * dayMs, midnight - 9*dayMs, midnight + 10*hourMs + bucketMs},
		{"both in the days", n, midnight - 9*dayMs + 20*60_000, bucketMs, midnight - 9*dayMs,
			midnight - 8*dayMs},
		{"days to hours", n, midnight - 8*dayMs + 20*60_000, hourMs, midnight - 9*dayMs,
			midnight - 8*dayMs + hourMs},
		{"from expired", n, n, 400 * dayMs, midnight - 400*dayMs, midnight + 10*hourMs + bucketMs},
		{"from long expired", n, n - dayMs, 400 * dayMs, midnight - 400*dayMs, midnight - 14*hourMs +
			bucketMs},
		{"all expired", n, midnight - 401*dayMs, dayMs, midnight - 400*dayMs, midnight - 400*dayMs},
		{"at 0", n, 0, dayMs, midnight - 400*dayMs, midnight - 400*dayMs},
		{"later than all", n, n + 30*dayMs, dayMs, midnight + 29*dayMs + 10*hourMs + bucketMs, midnight +
			30*dayMs + 10*hourMs + bucketMs},
		{"young", 5, 5, dayMs, 0, bucketMs},
		{"young, later", 30 * hourMs, 2 * hourMs, hourMs, 1 * hourMs, 3 * hourMs},
		{"lifetime", n, 5, 0, 0, midnight + 10*hourMs + bucketMs},
		{"the last time", 253402300799999, 253402300799999, bucketMs, 253402300800000 - bucketMs,
			253402300800000},
	}
	for _, test := range tests {
		q := Question{WindowMs: test.window, AtMs: test.at}
		if from, to := q.span(test.asOf); from != test.from || to != test.to {
			t.Errorf("%s: got %d to %d, want %d to %d", test.name, from-midnight, to-midnight,
				test.from-midnight, test.to-midnight)
		}
	}
}

func TestStats(t *testing.T) {
	l := New()
	for i, e := range []Entry{
		post(1, noon-500*dayMs),
		but(post(2, noon-9*dayMs), func(e *Entry) { e.Amount = 3 }),
		but(post(3, noon-2*hourMs), func(e *Entry) { e.Direction, e.Amount = Debit, 5 }),
		pending(4, Debit, 100, noon-hourMs),
		but(post(5, noon-hourMs), func(e *Entry) { e.Currency = "ABC" }),
		settle(6, 4, 0, noon),
		but(post(7, noon), func(e *Entry) { e.Amount = 0 }),
		post(8, noon-hourMs),
	} {
		if got := l.Apply(late, &e); got != Accepted {
			t.Fatalf("entry %d: %d", i, got)
		}
	}
	abc := Stat{"ABC", "topup", Credit, 1, 10, 10, 10}
	gift := Stat{"COIN", "gift", Debit, 1, 0, 0, 0}
	debits := Stat{"COIN", "topup", Debit, 1, 5, 5, 5}
	tests := []struct {
		name     string
		q        Question
		from, to int64
		items    []Stat
	}{
		{"lifetime", Question{}, 0, noon + bucketMs,
			[]Stat{abc, gift, {"COIN", "topup", Credit, 4, 23, 0, 10}, debits}},
		{"currency", Question{Currency: "ABC"}, 0, noon + bucketMs, []Stat{abc}},
		{"kind", Question{Kind: "gift"}, 0, noon + bucketMs, []Stat{gift}},
		{"none", Question{Currency: "ABC", Kind: "gift"}, 0, noon + bucketMs, []Stat{}},
		{"a bucket", Question{WindowMs: bucketMs, AtMs: noon}, noon, noon + bucketMs,
			[]Stat{gift, {"COIN", "topup", Credit, 1, 0, 0, 0}}},
		{"an hour before", Question{WindowMs: hourMs, AtMs: noon - hourMs}, noon - 2*hourMs + bucketMs,
			noon - hourMs + bucketMs,
			[]Stat{abc, {"COIN", "topup", Credit, 1, 10, 10, 10}}},
		{"ten days", Question{WindowMs: 10 * dayMs, AtMs: noon}, noon - 10*dayMs - 12*hourMs, noon +
			bucketMs,
			[]Stat{abc, gift, {"COIN", "topup", Credit, 3, 13, 0, 10}, debits}},
		{"expired", Question{WindowMs: dayMs, AtMs: noon - 500*dayMs}, noon - 400*dayMs - 12*hourMs,
			noon - 400*dayMs - 12*hourMs, []Stat{}},
	}
	for _, test := range tests {
		var got Stats
		if !l.Stats(42, &test.q, &got) {
			t.Fatal("unknown user")
		}
		if want := (Stats{8, test.from, test.to, test.items}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", test.name, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		name    string
		entries int
		entry   func(i int) Entry
		want    Verdict
		fits    Entry // is accepted nevertheless
	}{
		{"currencies", maxCurrencies, func(i int) Entry {
			return but(post(uint64(i), noon), func(e *Entry) { e.Currency = fmt.Sprintf("C%02d", i) })
		}, TooManyCurrencies, but(post(1000, noon), func(e *Entry) { e.Currency = "C03" })},
		{"groups", maxGroups, func(i int) Entry {
			return but(post(uint64(i), noon), func(e *Entry) {
				e.Kind, e.Direction = fmt.Sprintf("k%d", i/2),
					Direction(i%2)
			})
		}, TooManyGroups, pending(1000, Debit, 1, noon)},
		{"holds", maxHolds, func(i int) Entry { return pending(uint64(i), Debit, 1, noon) }, TooManyHolds,
			void(2000, 77, noon)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := New()
			for i := range test.entries {
				e := test.entry(i)
				if got := l.Apply(late, &e); got != Accepted {
					t.Fatalf("entry %d: %d", i, got)
				}
			}
			for _, s := range []struct {
				entry Entry
				want  Verdict
			}{{test.entry(test.entries), test.want}, {test.fits, Accepted}} {
				if got := l.Apply(late, &s.entry); got != s.want {
					t.Fatalf("got %d, want %d", got, s.want)
				}
			}
		})
	}
}

// TestSettlementNeedsGroup sees that a settlement with a new group is refused
// beyond the limit, while the hold stays and may be voided.
func TestSettlementNeedsGroup(t *testing.T) {
	l := New()
	steps := []Entry{pending(1, Debit, 5, noon)}
	for i := range uint64(maxGroups) {
		steps = append(steps, but(post(i+2, noon), func(e *Entry) { e.Kind = fmt.Sprintf("k%d", i) }))
	}
	for _, e := range steps {
		if got := l.Apply(late, &e); got != Accepted {
			t.Fatal(got)
		}
	}
	for _, s := range []struct {
		entry Entry
		want  Verdict
	}{{settle(1000, 1, 5, noon), TooManyGroups}, {void(1000, 1, noon), Accepted}} {
		if got := l.Apply(late, &s.entry); got != s.want {
			t.Fatalf("got %d, want %d", got, s.want)
		}
	}
}

// TestTooManyRecent fills the horizon of one user and lets it move on.
func TestTooManyRecent(t *testing.T) {
	l := New()
	const perQuarter = maxRecent / 64
	id := uint64(0)
	for q := range int64(64) {
		for i := range int64(perQuarter) {
			e := post(id, noon+q*bucketMs+i)
			if got := l.Apply(late, &e); got != Accepted {
				t.Fatalf("entry %d: %d", id, got)
			}
			id++
		}
	}
	const last = noon + 63*bucketMs + perQuarter - 1
	for _, s := range []struct {
		at   int64
		want Verdict
	}{
		{last, TooManyRecent},
		{noon + dayMs + bucketMs - 1, TooManyRecent}, // the horizon is still in the first start
		{noon + dayMs + bucketMs, Accepted},          // it has left it
		{noon + bucketMs, Accepted},
		{noon + bucketMs - 1, EntryTooOld},
	} {
		e := post(id, s.at)
		if got := l.Apply(late, &e); got != s.want {
			t.Fatalf("at %d: got %d, want %d", s.at-noon, got, s.want)
		}
		if s.want == Accepted {
			id++
		}
	}
	for _, n := range []uint64{perQuarter, 2 * perQuarter, 64*perQuarter - 1} {
		e := post(n, noon+int64(n/perQuarter)*bucketMs+int64(n%perQuarter))
		if got := l.Apply(late, &e); got != Duplicate {
			t.Fatalf("entry %d again: %d", n, got)
		}
		e.Amount++
		if got := l.Apply(late, &e); got != EntryIDConflict {
			t.Fatalf("entry %d changed: %d", n, got)
		}
	}
	// One much later entry expires nearly all records.
	e := post(0, noon+10*dayMs)
	if got := l.Apply(late, &e); got != Accepted {
		t.Fatal(got)
	}
	u := l.shard(42).users[42]
	if u.recent.many != nil || len(u.recent.few) != 1 {
		t.Fatalf("%d records are kept", len(u.recent.few))
	}
	var got Stats
	l.Stats(42, new(Question), &got)
	if want := uint64(maxRecent + 3); got.Version != want || got.Items[0].Count != want {
		t.Fatalf("%+v", got)
	}
}

// TestCalmedDown sees that a user who was very busy keeps what is remembered
// and frees the rest.
func TestCalmedDown(t *testing.T) {
	for _, test := range []struct{ before, after int64 }{{20_000, 1000}, {500, 8}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			l := New()
			apply := func(id, at int64, want Verdict) {
				t.Helper()
				e := post(uint64(id), at)
				if got := l.Apply(late, &e); got != want {
					t.Fatalf("entry %d: got %d, want %d", id, got, want)
				}
			}
			for i := range test.before {
				apply(i, noon, Accepted)
			}
			for i := range test.after {
				apply(test.before+i, noon+20*hourMs+i*1000, Accepted)
			}
			recent := &l.shard(42).users[42].recent
			if n := recent.many.live; n != int(test.before+test.after) {
				t.Fatalf("%d live", n)
			}
			apply(-1, noon+dayMs+bucketMs, Accepted)
			kept := len(recent.few)
			if recent.many != nil {
				kept = int(recent.many.used) - 1
			}
			if kept != int(test.after+1) {
				t.Fatalf("%d kept", kept)
			}
			for i := range test.after {
				apply(test.before+i, noon+20*hourMs+i*1000, Duplicate)
			}
			apply(0, noon+dayMs, Accepted)
		})
	}
}

// TestReusedID uses an id again once it is forgotten, with the old record still
// in memory, and checks that the new one is remembered.
func TestReusedID(t *testing.T) {
	const x, fill = 1 << 40, 400
	for _, test := range []struct {
		name          string
		before, after int   // other entries before and after x is used again
		again         int64 // when x is used again
	}{
		{"few", 0, 20, noon + 5},
		{"few, then many", 0, fill, noon + 5},
		{"many", fill, 0, noon + 5},
		{"many, then the old one expires", fill, fill, noon + dayMs},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := New()
			apply := func(e Entry, want Verdict) {
				t.Helper()
				if got := l.Apply(late, &e); got != want {
					t.Fatalf("entry %d at %d: got %d, want %d", e.ID.Lo, e.AtMs-noon, got, want)
				}
			}
			id := uint64(0)
			fill := func(n int, at int64) {
				for range n {
					apply(post(id, at), Accepted)
					id++
				}
			}
			apply(post(x, noon), Accepted)
			fill(test.before, noon)
			fill(1+test.before/4, noon+dayMs+1)
			apply(post(x, noon), EntryTooOld)
			apply(post(x, test.again), Accepted)
			apply(post(x, test.again), Duplicate)
			if test.again > noon+hourMs {
				fill(test.after, noon+dayMs+bucketMs)
			} else {
				fill(test.after, noon+dayMs+1)
			}
			apply(post(x, test.again), Duplicate)
			apply(post(x, test.again+1), EntryIDConflict)
		})
	}
}

// TestBounded feeds years of entries and checks that memory stays bounded.
func TestBounded(t *testing.T) {
	feed := func(buckets int, entries func(start int) int) *user {
		l := New()
		id := uint64(0)
		for q := range buckets {
			for range entries(q) {
				e := post(id, noon+int64(q)*bucketMs)
				if got := l.Apply(late, &e); got != Accepted {
					t.Fatal(got)
				}
				id++
			}
		}
		return l.shard(42).users[42]
	}
	u := feed(3*366*96, func(int) int { return 1 })
	if n := cap(u.groups[0].buckets); n > 1000 {
		t.Errorf("%d buckets", n)
	}
	if n := cap(u.recent.few); n > 2*97 {
		t.Errorf("%d records", n)
	}
	u = feed(40*96, func(q int) int { // a thousand, then nine buckets with one each
		if q%10 == 0 {
			return 1000
		}
		return 1
	})
	if m := u.recent.many; m.used > 12_000 || len(m.index) > 12_000 {
		t.Errorf("%d slots for %d ids", m.used, len(m.index))
	}
}

func TestConcurrent(t *testing.T) {
	l := New()
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			var balances Balances
			var stats Stats
			for i := range uint64(5000) {
				e := post(w<<32|i, noon+int64(i)*1000)
				e.User = i % 10
				if got := l.Apply(late, &e); got != Accepted {
					t.Errorf("got %d", got)
				}
				v, _ := l.View(i % 7)
				v.Balances(&balances)
				v.Stats(new(Question), &stats)
				v.Close()
				if n := uint64(balances.Items[0].Posted / 10); n != balances.Version ||
					n != stats.Items[0].Count {
					t.Errorf("%+v and %+v", balances, stats)
				}
			}
		})
	}
	wg.Wait()
}
