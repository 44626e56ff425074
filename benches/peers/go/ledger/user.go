package ledger

import (
	"cmp"
	"slices"
)

// user is the state of one user.
type user struct {
	version  uint64 // also the number of accepted entries
	asOf     int64
	accounts []account // sorted by currency
	groups   []group   // sorted by currency, kind and direction
	holds    map[ID]hold
	recent   recent

	// The dedup window does not reach beyond restart; nextRestart follows it
	// after the next span of entries.
	restart, nextRestart int64
}

// since returns the start of the dedup window: entries before it are late, and
// ids kept before it are forgotten.
func (u *user) since() int64 {
	return max(u.asOf-windowMs, u.restart)
}

// nobody stands for users without accepted entries. It is never written.
var nobody user

// account holds the balances of one currency.
type account struct {
	currency       name
	posted         int64
	pendingDebits  int64
	pendingCredits int64
}

// move posts an amount and changes the held amounts. If a figure would overflow it
// changes nothing and returns false.
func (a *account) move(d Direction, posted, held int64) bool {
	next := *a
	pending := &next.pendingCredits
	if d == Debit {
		pending = &next.pendingDebits
		posted = -posted
	}
	var ok bool
	if next.posted, ok = add(next.posted, posted); !ok {
		return false
	}
	if *pending, ok = add(*pending, held); !ok {
		return false
	}
	if _, ok = add(next.posted, -next.pendingDebits); !ok {
		return false
	}
	*a = next
	return true
}

// key tells groups of entries apart.
type key struct {
	currency  name
	kind      name
	direction Direction
}

// group holds the statistics of one group: lifetime and buckets.
type group struct {
	key
	first, last uint32 // 15-minute buckets of its earliest and latest amount
	count       uint64
	sums
	buckets []bucket
}

// book adds one amount.
func (g *group) book(at, amount, asOf int64) {
	start, one := uint32(at/bucketMs), sums{amount, amount, amount}
	if g.count == 0 {
		g.first, g.last, g.sums = start, start, one
	} else {
		g.first, g.last = min(g.first, start), max(g.last, start)
		g.merge(one)
	}
	g.count++
	g.buckets = book(g.buckets, start, one, asOf)
}

// total sums up the amounts of a range of 15-minute buckets. Many users are
// new and many groups idle: these need no search of buckets.
func (g *group) total(from, to uint32) (uint64, sums) {
	switch {
	case g.last < from || to <= g.first:
		return 0, sums{}
	case from <= g.first && g.last < to:
		return g.count, g.sums
	}
	return total(g.buckets, from, to)
}

// hold is an amount reserved and not settled yet.
type hold struct {
	key
	amount int64
	own    bool // whether the entry with its id was accepted
}

// differs compares an entry's own currency and direction with those of the open
// hold. It returns Accepted if they are equal, or the entry has none.
func (h *hold) differs(e *Entry, own key) Verdict {
	switch {
	case !e.HasTerms:
	case e.Action == Hold && own.currency != h.currency:
		return PendingMismatchCurrency
	case e.Action == Hold && own.direction != h.direction:
		return PendingMismatchDirection
	case own.currency != h.currency || own.direction != h.direction:
		return PendingMismatchID
	}
	return Accepted
}

// setHold changes an open hold, opens a new one or closes one with nothing left.
func (u *user) setHold(id ID, h hold) {
	switch {
	case h.amount > 0:
		if u.holds == nil {
			u.holds = make(map[ID]hold)
		}
		u.holds[id] = h
	default:
		if delete(u.holds, id); len(u.holds) == 0 {
			u.holds = nil
		}
	}
}

// account returns the index of a currency's account and whether it exists.
func (u *user) account(n *names, currency name) (int, bool) {
	return slices.BinarySearchFunc(u.accounts, currency, func(a account, c name) int {
		return n.compare(a.currency, c)
	})
}

// group returns the index of a group and whether it exists.
func (u *user) group(n *names, k key) (int, bool) {
	low, high := 0, len(u.groups)
	for low < high {
		mid := int(uint(low+high) / 2)
		g := &u.groups[mid].key
		order := n.compare(g.currency, k.currency)
		if order == 0 {
			order = n.compare(g.kind, k.kind)
		}
		if order == 0 {
			order = cmp.Compare(g.direction, k.direction)
		}
		switch {
		case order == 0:
			return mid, true
		case order < 0:
			low = mid + 1
		default:
			high = mid
		}
	}
	return low, false
}

// compare orders two ids.
func (a ID) compare(b ID) int {
	if c := cmp.Compare(a.Hi, b.Hi); c != 0 {
		return c
	}
	return cmp.Compare(a.Lo, b.Lo)
}

// add returns a + b and whether it did not overflow.
func add(a, b int64) (int64, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}
