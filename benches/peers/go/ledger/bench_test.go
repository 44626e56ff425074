package ledger

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// population returns entry i of a population in which each of users users gets
// ten entries over thirty days, in two currencies and four groups.
func population(i, users uint64) Entry {
	round := i / users
	e := Entry{
		ID:        ID{i * 0x9e3779b97f4a7c15, i},
		User:      UserID{Number: i % users * 0xd1342543de82ef95},
		HasTerms:  true,
		Currency:  [2]string{"COIN", "DIAMOND"}[round%2],
		Kind:      [4]string{"topup", "payout", "gift_sent", "gift_received"}[round%4],
		Direction: Direction(round % 4 / 2),
		HasAmount: true,
		Amount:    int64(1 + i%1000),
		AtMs:      noon + int64(round)*3*dayMs + int64(i%users)/1000,
	}
	return e
}

// filled returns a ledger with a population and its size in bytes.
func filled(b *testing.B, users uint64) (*Ledger, uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := New()
	for i := range users * 10 {
		e := population(i, users)
		if got := l.Apply(late, &e); got != Accepted {
			b.Fatalf("entry %d: %d", i, got)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return l, after.HeapAlloc - before.HeapAlloc
}

// BenchmarkPopulation feeds a million users and measures what each takes.
func BenchmarkPopulation(b *testing.B) {
	const users = 1_000_000
	for b.Loop() {
		l, size := filled(b, users)
		b.ReportMetric(float64(size)/users, "B/user")
		runtime.KeepAlive(l)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(users*10), "ns/entry")
}

// BenchmarkApply feeds entries to users in turn, a second apart for each.
func BenchmarkApply(b *testing.B) {
	for _, bench := range []struct {
		name  string
		users uint64
	}{{"1", 1}, {"1000", 1000}, {"100000", 100_000}} {
		b.Run("users="+bench.name, func(b *testing.B) {
			l := New()
			apply := func(i uint64) {
				e := population(i, bench.users)
				e.AtMs = noon + int64(i/bench.users)*1000
				if got := l.Apply(late, &e); got != Accepted {
					b.Fatalf("entry %d: %d", i, got)
				}
			}
			i := uint64(0)
			for i < 10*bench.users {
				apply(i)
				i++
			}
			b.ReportAllocs()
			for b.Loop() {
				apply(i)
				i++
			}
			total := uint64(0)
			var out Balances
			for user := range bench.users {
				l.Balances(population(user, bench.users).User, &out)
				total += out.Version
			}
			if total != i {
				b.Fatalf("%d entries of %d", total, i)
			}
		})
	}
}

// BenchmarkDuplicate sends entries again.
func BenchmarkDuplicate(b *testing.B) {
	l := New()
	const count = 1000
	for i := range uint64(count) {
		e := post(i, noon+int64(i))
		l.Apply(late, &e)
	}
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		e := post(i%count, noon+int64(i%count))
		if got := l.Apply(late, &e); got != Duplicate {
			b.Fatal(got)
		}
		i++
	}
}

// BenchmarkReads reads users of a population at random.
func BenchmarkReads(b *testing.B) {
	const users = 200_000
	l, _ := filled(b, users)
	user := func(r *rand.Rand) UserID { return population(r.Uint64N(users), users).User }
	b.Run("Balances", func(b *testing.B) {
		r := rand.New(rand.NewPCG(1, 2))
		var out Balances
		b.ReportAllocs()
		for b.Loop() {
			if !l.Balances(user(r), &out) || out.Version != 10 || len(out.Items) != 2 {
				b.Fatalf("%+v", out)
			}
		}
	})
	for _, q := range []struct {
		name   string
		window int64
		items  int
		count  uint64
	}{{"lifetime", 0, 4, 10}, {"30d", 30 * dayMs, 4, 10}, {"24h", dayMs, 1, 1}} {
		b.Run("Stats/"+q.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			question := Question{WindowMs: q.window, AtMs: noon + 27*dayMs + hourMs}
			var out Stats
			b.ReportAllocs()
			for b.Loop() {
				ok := l.Stats(user(r), &question, &out)
				count := uint64(0)
				for i := range out.Items {
					count += out.Items[i].Count
				}
				if !ok || len(out.Items) != q.items || count != q.count {
					b.Fatalf("%+v", out)
				}
			}
		})
	}
}

// BenchmarkBusyStats asks for 300 days of a user with an entry in each bucket
// of an hour of 400 days, in sixteen groups.
func BenchmarkBusyStats(b *testing.B) {
	l := New()
	const entries = 400 * 96
	for i := range uint64(entries) {
		e := post(i, noon+int64(i)*bucketMs)
		e.Kind = string([]byte{'k', byte('a' + i%16)})
		if got := l.Apply(late, &e); got != Accepted {
			b.Fatal(got)
		}
	}
	question := Question{WindowMs: 300 * dayMs, AtMs: noon + (entries-1)*bucketMs}
	var out Stats
	b.ReportAllocs()
	for b.Loop() {
		ok := l.Stats(user42, &question, &out)
		count := uint64(0)
		for i := range out.Items {
			count += out.Items[i].Count
		}
		if !ok || len(out.Items) != 16 || count != uint64(out.ToMs-out.FromMs)/bucketMs {
			b.Fatalf("%+v", out)
		}
	}
}
