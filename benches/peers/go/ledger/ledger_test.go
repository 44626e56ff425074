package ledger

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

const (
	noon = 1_763_899_200_000 // a full hour
	late = math.MaxInt64     // a clock that no entry is ahead of

	early = noon - 3*dayMs
)

var user42 = UserID{Number: 42}

// post returns a posted credit of 10 COIN.
func post(id uint64, at int64) Entry {
	return Entry{ID: ID{0, id}, User: user42, HasTerms: true, Currency: "COIN", Kind: "topup",
		HasAmount: true, Amount: 10, AtMs: at}
}

// but returns a changed entry.
func but(e Entry, change func(*Entry)) Entry {
	change(&e)
	return e
}

func pending(id uint64, d Direction, amount, at int64) Entry {
	return Entry{ID: ID{0, id}, User: user42, HasTerms: true, Currency: "COIN", Kind: "gift",
		Direction: d, HasAmount: true, Amount: amount, AtMs: at, Action: Hold}
}

func settle(id, hold uint64, amount, at int64) Entry {
	return Entry{
		ID: ID{0, id}, User: user42, HasAmount: true, Amount: amount, AtMs: at, Action: Settle,
		Hold: ID{0, hold}, Final: true,
	}
}

func void(id, hold uint64, at int64) Entry {
	return Entry{ID: ID{0, id}, User: user42, AtMs: at, Action: Void, Hold: ID{0, hold}}
}

// partly is a settlement after which the rest stays held.
func partly(id, hold uint64, amount, at int64) Entry {
	return but(settle(id, hold, amount, at), func(e *Entry) { e.Final = false })
}

// grow makes a hold grow.
func grow(id, hold uint64, amount, at int64) Entry {
	return but(partly(id, hold, amount, at), func(e *Entry) { e.Action = Grow })
}

// voidPart releases a part of a hold.
func voidPart(id, hold uint64, amount, at int64) Entry {
	return but(void(id, hold, at), func(e *Entry) { e.HasAmount, e.Amount = true, amount })
}

// own gives an entry on a hold the terms of pending, with a kind of its own.
func own(e Entry) Entry {
	e.HasTerms, e.Currency, e.Kind, e.Direction = true, "COIN", "own", Debit
	return e
}

// accepted is an entry that is booked even if it is late.
func accepted(e Entry) Entry {
	e.LateAccepted = true
	return e
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
			{accepted(post(1, noon)), Duplicate},
			{settle(1, 1, 10, noon), EntryIDConflict},
			{but(post(1, noon), func(e *Entry) { e.ID.Hi = 1 }), Accepted},
			{but(post(1, noon), func(e *Entry) { e.User = UserID{Number: 43} }), Accepted},
		}},
		{"in the future", []step{
			{post(1, noon+2*hourMs+1), EntryInFuture},
			{post(1, noon+2*hourMs), Accepted},
			{post(1, noon+2*hourMs+1), EntryInFuture},
		}},
		{"forgotten", []step{
			{post(1, early-dayMs), Accepted},
			{post(2, early), Accepted},
			{post(1, early-dayMs), Duplicate},
			{post(1, early-dayMs-1), EntryTooOld},
			{post(3, early+1), Accepted},
			{post(1, early-dayMs), EntryTooOld},
			// The id was kept when the latest entry was a day older.
			{post(1, early-dayMs+1), Accepted},
			{post(1, early-dayMs+1), Duplicate},
			{post(1, early-dayMs+2), EntryIDConflict},
			{post(4, early+2), Accepted},
			{post(1, early-dayMs+2), EntryIDConflict},
			{post(5, early+dayMs+1), Accepted},
			{post(1, early+1), EntryIDConflict},
			{post(6, early+dayMs+2), Accepted},
			{post(1, early+2), Accepted},
		}},
		{"late", []step{
			{accepted(post(1, early-400*dayMs)), Accepted},
			{post(2, early), Accepted},
			{post(3, early-dayMs-1), EntryTooOld},
			{accepted(post(3, early-dayMs-1)), Accepted},
			{accepted(post(3, early-dayMs-1)), Duplicate},
			{accepted(post(3, early-dayMs-2)), EntryIDConflict},
			{post(3, early-dayMs-1), EntryTooOld},
			{accepted(post(4, early-900*dayMs)), Accepted},
			{post(5, early+dayMs+1), Accepted},
			{accepted(post(3, early-dayMs-1)), Accepted},
		}},
		{"holds", []step{
			{settle(2, 1, 0, noon), PendingNotFound},
			{pending(1, Debit, 100, noon), Accepted},
			{settle(1, 1, 100, noon), EntryIDConflict},
			{settle(2, 1, 60, noon), Accepted},
			{settle(2, 1, 60, noon), Duplicate},
			{settle(2, 1, 61, noon), EntryIDConflict},
			{settle(2, 3, 60, noon), EntryIDConflict},
			{partly(2, 1, 60, noon), EntryIDConflict},
			{own(settle(2, 1, 60, noon)), EntryIDConflict},
			{void(2, 1, noon), EntryIDConflict},
			{settle(3, 1, 40, noon), PendingNotFound},
			{own(settle(3, 1, 40, noon)), Accepted},
			{pending(1, Debit, 100, noon), Duplicate},
			{pending(4, Credit, 0, noon), Accepted},
			{void(5, 4, noon), PendingNotFound},
			{voidPart(5, 4, 0, noon), PendingNotFound},
			{own(void(5, 4, noon)), Accepted},
			{own(void(5, 4, noon)), Duplicate},
			{own(voidPart(5, 4, 0, noon)), EntryIDConflict},
		}},
		{"captures", []step{
			{pending(1, Debit, 100, noon), Accepted},
			{partly(2, 1, 30, noon), Accepted},
			{partly(3, 1, 0, noon), Accepted},
			{own(partly(4, 1, 69, noon)), Accepted},
			{voidPart(5, 1, 0, noon), Accepted},
			{partly(6, 1, 50, noon), Accepted}, // more than is left
			{partly(7, 1, 1, noon), PendingNotFound},
		}},
		{"growth", []step{
			{grow(2, 1, 5, noon), PendingNotFound},
			{own(grow(2, 1, 0, noon)), Accepted}, // opens nothing
			{grow(3, 1, 5, noon), PendingNotFound},
			{own(grow(3, 1, 5, noon)), Accepted},
			{pending(1, Debit, 5, noon), Accepted},
			{pending(1, Debit, 5, noon), Duplicate},
			{post(1, noon), EntryIDConflict},
			{grow(4, 1, 5, noon), Accepted},
			{voidPart(5, 1, 14, noon), Accepted},
			{voidPart(6, 1, 14, noon), Accepted},
			{voidPart(7, 1, 14, noon), PendingNotFound},
		}},
		{"mismatches", []step{
			{own(grow(2, 1, 5, noon)), Accepted},
			{but(pending(1, Debit, 5, noon), func(e *Entry) { e.Currency = "USD" }),
				PendingMismatchCurrency},
			{but(pending(1, Credit, 5, noon), func(e *Entry) { e.Currency = "USD" }),
				PendingMismatchCurrency},
			{pending(1, Credit, 5, noon), PendingMismatchDirection},
			{but(own(grow(3, 1, 5, noon)), func(e *Entry) { e.Currency = "USD" }), PendingMismatchID},
			{but(own(settle(3, 1, 5, noon)), func(e *Entry) { e.Direction = Credit }),
				PendingMismatchID},
			{but(own(void(3, 1, noon)), func(e *Entry) { e.Direction = Credit }), PendingMismatchID},
			{own(void(3, 1, noon)), Accepted},
		}},
		{"an old hold", []step{
			{pending(1, Debit, 100, noon-3*dayMs), Accepted},
			{post(2, noon), Accepted},
			{post(1, noon), EntryIDConflict},
			{pending(1, Debit, 100, noon), EntryIDConflict},
			{pending(1, Debit, 100, noon-3*dayMs), EntryTooOld},
			{accepted(pending(1, Debit, 100, noon-3*dayMs)), EntryIDConflict},
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
	if l.Balances(user42, new(Balances)) || l.Stats(user42, new(Question), new(Stats)) {
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
	if !l.Balances(user42, &got) || l.Balances(UserID{Number: 7}, &got) {
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
		if !l.Stats(user42, &test.q, &got) {
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
			void(1<<40, 77, noon)},
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

// TestSpans feeds a busy user: after each span of entries the window begins at the
// latest entry of the span before. Ids that share one time stay.
func TestSpans(t *testing.T) {
	l := New()
	apply := func(id uint64, at int64, want Verdict) {
		t.Helper()
		e := post(id, at)
		if got := l.Apply(late, &e); got != want {
			t.Fatalf("entry %d: got %d, want %d", id, got, want)
		}
	}
	at := func(id uint64) int64 { return noon + int64(id/1024) }
	for id := range uint64(2*span - 1) {
		apply(id, at(id), Accepted)
	}
	apply(0, at(0), Duplicate)
	apply(2*span-1, at(2*span-1), Accepted)
	apply(span-1, at(span-1), Duplicate)
	apply(511*1024, at(511*1024), Duplicate)
	apply(511*1024-1, at(511*1024-1), EntryTooOld)
	for id := range uint64(2 * span) {
		apply(1<<40+id, noon+hourMs, Accepted)
	}
	apply(span, at(span), EntryTooOld)
	apply(1<<40, noon+hourMs, Duplicate)
	for id := range uint64(span) {
		apply(1<<41+id, noon+hourMs, Accepted)
	}
	apply(1<<40, noon+hourMs, Duplicate)
	apply(1, noon+hourMs-1, EntryTooOld)
	// One much later entry forgets all.
	apply(2, noon+10*dayMs, Accepted)
	for id := range uint64(span) {
		apply(id<<42+3, noon+10*dayMs, Accepted)
	}
	if m := l.shard(user42).find(user42).recent.many; m.tail-m.head > 2*span {
		t.Fatalf("%d records are kept", m.tail-m.head)
	}
}

// TestCalmedDown sees that a user who was very busy keeps what is remembered
// and frees the rest.
func TestCalmedDown(t *testing.T) {
	l := New()
	apply := func(id, at int64, want Verdict) {
		t.Helper()
		e := post(uint64(id), at)
		if got := l.Apply(late, &e); got != want {
			t.Fatalf("entry %d: got %d, want %d", id, got, want)
		}
	}
	for i := range int64(20_000) {
		apply(i, noon, Accepted)
	}
	recent := &l.shard(user42).find(user42).recent
	for i := range int64(6_000) {
		apply(20_000+i, noon+20*hourMs+i, Accepted)
	}
	for i := range int64(6_000) {
		apply(30_000+i, noon+25*hourMs+i, Accepted)
	}
	if n := recent.many.tail - recent.many.head; n != 12_000 {
		t.Fatalf("%d kept", n)
	}
	apply(20_000, noon+20*hourMs, Duplicate)
	apply(0, noon+24*hourMs, Accepted)
	for i := range int64(5_000) {
		apply(40_000+i, noon+100*hourMs+i*3*hourMs, Accepted)
	}
	if n := len(recent.few); recent.many != nil || n > fewMax {
		t.Fatalf("%d kept", n)
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
			apply(accepted(post(x, test.again)), Accepted)
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
		return l.shard(user42).find(user42)
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
	if m := u.recent.many; len(m.chunks) > 48 || len(m.index) > 12_000 {
		t.Errorf("%d chunks for %d ids", len(m.chunks), len(m.index))
	}
}

// TestUserIDs feeds users whose ids look alike, from one buffer that is written
// over, and checks that each keeps its own state.
func TestUserIDs(t *testing.T) {
	l := New()
	ids := []UserID{{Number: 0}, {Number: 42}, {Number: math.MaxUint64}}
	for _, text := range []string{"042", "00", "a", "A", "ab", "18446744073709551616", "users:42",
		strings.Repeat("x", 63), strings.Repeat("x", 64)} {
		ids = append(ids, UserID{Text: text})
	}
	buffer := make([]byte, 64)
	for i, id := range ids {
		if l.Balances(id, new(Balances)) {
			t.Errorf("%+v is known before its first entry", id)
		}
		e := post(1, noon+int64(i))
		e.User.Number = id.Number
		e.User.Text = unsafe.String(unsafe.SliceData(buffer), copy(buffer, id.Text))
		for _, want := range []Verdict{Accepted, Duplicate} {
			if got := l.Apply(late, &e); got != want {
				t.Errorf("%+v: got %d, want %d", id, got, want)
			}
		}
	}
	for i, id := range ids {
		var got Balances
		if !l.Balances(id, &got) || got.Version != 1 || got.AsOfMs != noon+int64(i) {
			t.Errorf("%+v: got %+v", id, got)
		}
	}
}

// someUser returns the user of a number; the odd ones have a text.
func someUser(n uint64) UserID {
	if n%2 == 0 {
		return UserID{Number: n}
	}
	return UserID{Text: "user:" + strconv.FormatUint(n, 10)}
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
				e.User = someUser(i % 10)
				if got := l.Apply(late, &e); got != Accepted {
					t.Errorf("got %d", got)
				}
				v, _ := l.View(someUser(i % 7))
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
