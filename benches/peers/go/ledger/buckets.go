package ledger

// sums are the figures of one or more amounts.
type sums struct{ sum, min, max int64 }

// merge adds the figures of other amounts. The sum cannot overflow: no group's
// lifetime sum does.
func (s *sums) merge(o sums) {
	s.sum += o.sum
	s.min = min(s.min, o.min)
	s.max = max(s.max, o.max)
}

// bucket sums up the amounts of a period: 15 minutes, or an hour or a day after
// rolling up. Its length depends on its age.
type bucket struct {
	start uint32 // its start in 15-minute buckets since the epoch
	count uint64
	sums
}

// book adds the figures of one amount to a sorted list of buckets and returns
// the list. asOf is the time of the user's latest entry, this one included.
func book(list []bucket, start uint32, one sums, asOf int64) []bucket {
	i := place(list, start)
	if i < len(list) && list[i].start == start {
		list[i].count++
		list[i].merge(one)
		return list
	}
	if len(list) == cap(list) {
		list = fit(rollUp(list, edgesAt(asOf)))
		i = place(list, start)
	}
	return insert(list, i, bucket{start, 1, one})
}

// place returns the index of the first bucket that starts at start or later.
// Most entries are recent, so it looks at the last bucket first.
func place(list []bucket, start uint32) int {
	low, high := 0, len(list)
	if high > 0 && list[high-1].start < start {
		return high
	}
	for low < high {
		mid := int(uint(low+high) / 2)
		if list[mid].start < start {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// rollUp merges buckets in place to the grain that the edges require and drops
// those before them. No answer changes, since every range is rounded by edges
// that are at least as late.
func rollUp(list []bucket, e edges) []bucket {
	days, hours, recent := uint32(e.days/bucketMs), uint32(e.hours/bucketMs),
		uint32(e.recent/bucketMs)
	kept := list[:0]
	for _, b := range list {
		switch {
		case b.start < days:
			continue
		case b.start < hours:
			b.start -= b.start % (dayMs / bucketMs)
		case b.start < recent:
			b.start -= b.start % (hourMs / bucketMs)
		}
		if n := len(kept); n > 0 && kept[n-1].start == b.start {
			kept[n-1].count += b.count
			kept[n-1].merge(b.sums)
		} else {
			kept = append(kept, b)
		}
	}
	return kept
}

// total sums up the buckets of a range of 15-minute buckets.
func total(list []bucket, from, to uint32) (count uint64, t sums) {
	for _, b := range list[place(list, from):] {
		if b.start >= to {
			break
		}
		if count == 0 {
			t = b.sums
		} else {
			t.merge(b.sums)
		}
		count += b.count
	}
	return count, t
}
