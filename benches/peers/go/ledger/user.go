package ledger

import (
	"cmp"
	"slices"
)

// user is the state of one user.
type user struct {
	version  uint64
	asOf     int64
	accounts []account // sorted by currency
	groups   []group   // sorted by currency, kind and direction
	holds    []hold    // open ones, sorted by id
	recent   recent
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
	id     ID
	amount int64
	key
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

// hold returns the index of an open hold and whether it exists.
func (u *user) hold(id ID) (int, bool) {
	return slices.BinarySearchFunc(u.holds, id, func(h hold, id ID) int {
		return h.id.compare(id)
	})
}

// release removes an open hold.
func (u *user) release(i int) {
	u.holds = slices.Delete(u.holds, i, i+1)
	if len(u.holds) == 0 {
		u.holds = nil
	}
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
