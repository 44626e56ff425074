package ledger

// Units of time, in milliseconds.
const (
	quarterMs = 15 * 60 * 1000
	hourMs    = 4 * quarterMs
	dayMs     = 24 * hourMs
)

// edges are the times from which on statistics have a finer grain: days are
// kept from days on, hours from hours on, quarters of an hour from quarters on.
type edges struct{ days, hours, quarters int64 }

// edgesAt returns the edges of a user whose latest entry is at asOf.
func edgesAt(asOf int64) edges {
	return edges{
		days:     floor(max(asOf-400*dayMs, 0), dayMs),
		hours:    floor(max(asOf-8*dayMs, 0), dayMs),
		quarters: floor(max(asOf-26*hourMs, 0), hourMs),
	}
}

// grain returns the grain at a time.
func (e edges) grain(t int64) int64 {
	switch {
	case t >= e.quarters:
		return quarterMs
	case t >= e.hours:
		return hourMs
	}
	return dayMs
}

// span returns the range for which a question is answered exactly. That of a
// lifetime holds all entries, so it needs no grain.
func (q *Question) span(asOf int64) (from, to int64) {
	if q.WindowMs == 0 {
		return 0, quarterEnd(asOf)
	}
	e := edgesAt(asOf)
	to = quarterEnd(q.AtMs)
	from = max(to-q.WindowMs, 0)
	from = max(floor(from, e.grain(from)), e.days)
	grain := e.grain(to)
	to = max(floor(to+grain-1, grain), e.days)
	return from, to
}

// quarterEnd returns the end of the quarter of an hour that holds t.
func quarterEnd(t int64) int64 {
	return floor(t, quarterMs) + quarterMs
}

// floor rounds a time down to a multiple of unit.
func floor(t, unit int64) int64 {
	return t - t%unit
}
