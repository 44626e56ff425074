package ledger

import (
	"flag"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"testing"
)

var (
	seed   = flag.Uint64("seed", 1, "first seed of the random test")
	rounds = flag.Uint64("rounds", 60, "rounds of the random test")
)

// style describes the entries of one round.
type style struct {
	name    string
	entries int
	step    []int64 // by how much time may move on
	ids     uint64  // how many ids there are
	names   int     // how many currencies and kinds
	amounts []int64 // bounds of amounts
	holds   int     // one entry in so many is a hold
}

var styles = []style{
	{"quiet", 400, []int64{0, hourMs, dayMs, 3 * dayMs, 40 * dayMs, 500 * dayMs}, 1 << 40, 2,
		[]int64{1000}, 8},
	{"daily", 700, []int64{0, 1000, bucketMs, hourMs, 5 * hourMs, dayMs}, 300, 4, []int64{1, 1000},
		3},
	{"busy", 1200, []int64{0, 10, 1000, 3 * 60_000}, 900, 3, []int64{1000}, 6},
	{"bursts", 1200, []int64{0, 0, 0, 0, 0, 0, 0, 10, 10, 10, 10, 10, 10, 1000, 1000, 1000,
		9 * hourMs}, 2000, 3, []int64{1000}, 9},
	{"burst and rest", 1200, burstAndRest(), 1500, 2, []int64{1000}, 9},
	{"huge", 400, []int64{0, 1000, bucketMs, hourMs}, 1 << 40, 2,
		[]int64{1, math.MaxInt64, math.MaxInt64 / 3}, 3},
	{"crowded", 700, []int64{0, 1000, hourMs}, 1 << 40, 18, []int64{1000}, 4},
}

// burstAndRest has small steps, and a gap of days every few hundred entries.
func burstAndRest() []int64 {
	steps := make([]int64, 500)
	for i := range steps {
		steps[i] = int64(i)
	}
	steps[0] = 3 * dayMs
	return steps
}

// TestRandom feeds random entries to the ledger and to the model and compares
// all visible state.
func TestRandom(t *testing.T) {
	for s := *seed; s < *seed+*rounds; s++ {
		st := styles[s%uint64(len(styles))]
		randomRound(t, s, st)
		if t.Failed() {
			return
		}
	}
}

func randomRound(t *testing.T, seed uint64, st style) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(list []int64) int64 { return list[r.IntN(len(list))] }
	l := New()
	var balances Balances
	var stats Stats
	users := []UserID{{Number: 0}, {Number: 42}, {Number: math.MaxUint64}, {Text: "042"},
		{Text: "user:42"}, {Text: "0192f0c1-7d3a-7cc1-9a55-0242ac120002"}}
	models := make([]model, len(users))
	busiest := r.IntN(len(users))
	clock := r.Int64N(2 * hourMs)
	if r.IntN(3) > 0 {
		clock = 1_763_900_000_000 + r.Int64N(dayMs)
	}
	var sent []Entry
	verdicts := map[Verdict]int{}
	for i := range st.entries {
		if step := pick(st.step); step > 0 {
			clock += r.Int64N(step)
		}
		who := busiest // most entries are of one user
		if r.IntN(8) == 0 {
			who = r.IntN(len(users))
		}
		m := &models[who]
		e := Entry{
			ID:        ID{r.Uint64N(2), r.Uint64N(st.ids)},
			User:      users[who],
			HasTerms:  true,
			HasAmount: true,
			Currency:  string([]byte{'C', byte('A' + r.IntN(st.names)), 'X'}),
			Kind:      string([]byte{'k', byte('a' + r.IntN(st.names))}),
			Direction: Direction(r.IntN(2)),
			AtMs:      clock,
		}
		e.Amount = r.Int64N(pick(st.amounts))
		switch r.IntN(10) {
		case 0: // late
			e.AtMs = max(clock-r.Int64N(25*hourMs), 0)
		case 1: // about as late as allowed, or as early
			e.AtMs = max(clock-dayMs+r.Int64N(3)-1, 0)
		case 2:
			e.AtMs = clock + hourMs + r.Int64N(3) - 1
		case 3:
			e.AtMs = max(clock-r.Int64N(500*dayMs), 0)
		}
		e.LateAccepted = r.IntN(3) == 0
		if r.IntN(st.holds) == 0 {
			e.Action = Hold
		} else if r.IntN(st.holds) <= 1 {
			e.Action = Grow + Action(r.IntN(3))
			e.Hold = ID{0, r.Uint64N(st.ids)}
			if r.IntN(3) > 0 {
				e.HasTerms, e.Currency, e.Kind, e.Direction = false, "", "", 0
			}
			if len(m.open) > 0 && r.IntN(8) > 0 {
				h := m.open[r.IntN(len(m.open))]
				e.Hold = h.ID
				if r.IntN(4) > 0 {
					e.Amount = r.Int64N(h.amount + 1)
				}
				if e.HasTerms && r.IntN(4) > 0 {
					e.Currency, e.Direction = h.group.Currency, h.group.Direction
				}
			}
			e.Final = e.Action == Settle && r.IntN(2) == 0
			if e.Action == Void && r.IntN(2) == 0 {
				e.HasAmount, e.Amount = false, 0
			}
		} else if len(m.open) > 0 && r.IntN(30) == 0 {
			h := m.open[r.IntN(len(m.open))]
			e.Action, e.ID, e.Currency, e.Direction = Hold, h.ID, h.group.Currency, h.group.Direction
		}
		if len(sent) > 0 && r.IntN(6) == 0 { // again, or nearly
			e = sent[max(len(sent)-1-r.IntN(20), 0)]
			switch r.IntN(12) {
			case 0:
				e.AtMs++
			case 1:
				e.Kind += "x"
			case 2:
				e.Hold.Hi++
			case 3:
				e.Final = !e.Final && e.Action == Settle
			}
			if e.Action == Post || e.Action == Hold {
				e.Hold = ID{}
			}
			if !e.HasTerms {
				e.Kind = ""
			}
			e.LateAccepted = r.IntN(2) == 0
			for j := range users {
				if users[j] == e.User {
					m = &models[j]
				}
			}
		}
		sent = append(sent, e)
		want := m.apply(clock, e)
		verdicts[want]++
		if got := l.Apply(clock, &e); got != want {
			t.Fatalf("seed %d (%s): entry %d: %+v: got verdict %d, want %d", seed, st.name, i, e, got, want)
		}
		if r.IntN(10) > 0 {
			continue
		}
		known := len(m.accepted) > 0
		if got := l.Balances(e.User, &balances); got != known {
			t.Fatalf("seed %d (%s): entry %d: known %v, want %v", seed, st.name, i, got, known)
		}
		if !known {
			continue
		}
		if want := m.balances(); !reflect.DeepEqual(balances, want) {
			t.Fatalf("seed %d (%s): entry %d:\n got %+v\nwant %+v", seed, st.name, i, balances, want)
		}
		var past PastBalances
		at := max(clock-r.Int64N(pick([]int64{1, 2 * hourMs, 30 * hourMs, 10 * dayMs, 500 * dayMs})), 0)
		l.PastBalances(e.User, at, &past)
		edge, posted := m.past(at)
		if past.AtMs != edge || len(past.Items) != len(posted) {
			t.Fatalf("seed %d (%s): entry %d: got %+v before %d, want %v before %d", seed, st.name, i,
				past, past.AtMs, posted, edge)
		}
		for _, item := range past.Items {
			got := new(big.Int).Lsh(big.NewInt(item.Hi), 64)
			got.Add(got, new(big.Int).SetUint64(item.Lo))
			if want := posted[item.Currency]; got.Cmp(want) != 0 {
				t.Fatalf("seed %d (%s): entry %d: got %v %s before %d, want %v", seed, st.name, i, got,
					item.Currency, edge, want)
			}
		}
		for range 4 {
			q := Question{WindowMs: (1 + r.Int64N(pick([]int64{4, 100, 800, 38400}))) * bucketMs,
				AtMs: clock}
			if r.IntN(5) == 0 {
				q.WindowMs = 0
			}
			if r.IntN(2) == 0 {
				q.AtMs = max(clock-r.Int64N(pick([]int64{2 * hourMs, 30 * hourMs, 10 * dayMs, 500 * dayMs})), 0)
			}
			if r.IntN(4) == 0 {
				q.Currency = "CAX"
			}
			if r.IntN(4) == 0 {
				q.Kind = "kb"
			}
			l.Stats(e.User, &q, &stats)
			if want := m.stats(q); !reflect.DeepEqual(stats, want) {
				t.Fatalf("seed %d (%s): entry %d: %+v:\n got %+v\nwant %+v", seed, st.name, i, q, stats, want)
			}
		}
	}
	t.Logf("seed %d (%s): verdicts %v", seed, st.name, verdicts)
}
