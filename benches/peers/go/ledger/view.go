package ledger

import (
	"math"
	"math/bits"
)

// View is one user's state at one moment.
type View struct {
	shard *shard
	user  *user
}

// Close releases the user's state for changes.
func (v View) Close() {
	v.shard.mu.RUnlock()
}

// Balances reads the balances into out, whose Items are reused.
func (v View) Balances(out *Balances) {
	u := v.user
	out.Version, out.AsOfMs = u.version, u.asOf
	items := out.Items[:0]
	for i := range u.accounts {
		a := &u.accounts[i]
		items = append(items, Balance{
			Currency:       v.shard.names.text(a.currency),
			Posted:         a.posted,
			PendingDebits:  a.pendingDebits,
			PendingCredits: a.pendingCredits,
			Available:      a.posted - a.pendingDebits,
		})
	}
	if items == nil {
		items = []Balance{}
	}
	out.Items = items
}

// PastBalances reads what was posted before the first instant at or after a time
// at which that is known, into out, whose Items are reused.
func (v View) PastBalances(at int64, out *PastBalances) {
	u := v.user
	out.Version, out.AsOfMs, out.AtMs = u.version, u.asOf, instant(u.asOf, at)
	from := uint32(out.AtMs / bucketMs)
	items := out.Items[:0]
	for i := range u.accounts {
		a := &u.accounts[i]
		item := PastBalance{Currency: v.shard.names.text(a.currency)}
		item.add(a.posted)
		for j := range u.groups {
			g := &u.groups[j]
			if g.currency != a.currency {
				continue
			}
			_, later := g.total(from, math.MaxUint32)
			if g.direction == Credit {
				item.add(-later.sum)
			} else {
				item.add(later.sum)
			}
		}
		items = append(items, item)
	}
	if items == nil {
		items = []PastBalance{}
	}
	out.Items = items
}

// add adds an amount.
func (p *PastBalance) add(amount int64) {
	var carry uint64
	p.Lo, carry = bits.Add64(p.Lo, uint64(amount), 0)
	p.Hi += amount>>63 + int64(carry)
}

// Stats reads the statistics into out, whose Items are reused.
func (v View) Stats(q *Question, out *Stats) {
	u := v.user
	out.Version = u.version
	out.FromMs, out.ToMs = q.span(u.asOf)
	from, to := uint32(out.FromMs/bucketMs), uint32(out.ToMs/bucketMs)
	items := out.Items[:0]
	for i := range u.groups {
		g := &u.groups[i]
		currency, kind := v.shard.names.text(g.currency), v.shard.names.text(g.kind)
		if q.Currency != "" && q.Currency != currency || q.Kind != "" && q.Kind != kind {
			continue
		}
		if count, sums := g.total(from, to); count > 0 {
			items = append(items, Stat{currency, kind, g.direction, count, sums.sum, sums.min, sums.max})
		}
	}
	if items == nil {
		items = []Stat{}
	}
	out.Items = items
}
