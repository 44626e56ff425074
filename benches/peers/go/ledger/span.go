package ledger

// Units of time, in milliseconds.
const (
	bucketMs = 15 * 60 * 1000
	hourMs   = 4 * bucketMs
	dayMs    = 24 * hourMs
)

// edges are the times from which on statistics have a finer grain: days are
// kept from days on, hours from hours on, 15-minute buckets from recent on.
type edges struct{ days, hours, recent int64 }

// edgesAt returns the edges of a user whose latest entry is at asOf.
func edgesAt(asOf int64) edges {
	return edges{
		days:   floor(max(asOf-400*dayMs, 0), dayMs),
		hours:  floor(max(asOf-8*dayMs, 0), dayMs),
		recent: floor(max(asOf-26*hourMs, 0), hourMs),
	}
}

// grain returns the grain at a time.
func (e edges) grain(t int64) int64 {
	switch {
	case t >= e.recent:
		return bucketMs
	case t >= e.hours:
		return hourMs
	}
	return dayMs
}

// span returns the range for which a question is answered exactly. That of a
// lifetime holds all entries, so it needs no grain.
func (q *Question) span(asOf int64) (from, to int64) {
	if q.WindowMs == 0 {
		return 0, bucketEnd(asOf)
	}
	e := edgesAt(asOf)
	to = bucketEnd(q.AtMs)
	from = max(to-q.WindowMs, 0)
	from = max(floor(from, e.grain(from)), e.days)
	grain := e.grain(to)
	to = max(floor(to+grain-1, grain), e.days)
	return from, to
}

// instant returns the first instant at or after a time at which a past balance is
// exact.
func instant(asOf, at int64) int64 {
	e := edgesAt(asOf)
	to := floor(at+bucketMs-1, bucketMs)
	grain := e.grain(to)
	return max(floor(to+grain-1, grain), e.days)
}

// bucketEnd returns the end of the 15-minute bucket that holds t.
func bucketEnd(t int64) int64 {
	return floor(t, bucketMs) + bucketMs
}

// floor rounds a time down to a multiple of unit.
func floor(t, unit int64) int64 {
	return t - t%unit
}
