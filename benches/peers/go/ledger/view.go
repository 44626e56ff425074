package ledger

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
