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
	quarter uint32 // its start in quarters of an hour since the epoch
	count   uint32 // at most 96 quarters of maxRecent entries each
	sums
}

// book adds the figures of one amount to a sorted list of buckets and returns
// the list. asOf is the time of the user's latest entry, this one included.
func book(list []bucket, quarter uint32, one sums, asOf int64) []bucket {
	i := place(list, quarter)
	if i < len(list) && list[i].quarter == quarter {
		list[i].count++
		list[i].merge(one)
		return list
	}
	if len(list) == cap(list) {
		list = fit(rollUp(list, edgesAt(asOf)))
		i = place(list, quarter)
	}
	return insert(list, i, bucket{quarter, 1, one})
}

// place returns the index of the first bucket that starts at quarter or later.
// Most entries are recent, so it looks at the last bucket first.
func place(list []bucket, quarter uint32) int {
	low, high := 0, len(list)
	if high > 0 && list[high-1].quarter < quarter {
		return high
	}
	for low < high {
		mid := int(uint(low+high) / 2)
		if list[mid].quarter < quarter {
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
	days, hours, quarters := uint32(e.days/quarterMs), uint32(e.hours/quarterMs),
		uint32(e.quarters/quarterMs)
	kept := list[:0]
	for _, b := range list {
		switch {
		case b.quarter < days:
			continue
		case b.quarter < hours:
			b.quarter -= b.quarter % (dayMs / quarterMs)
		case b.quarter < quarters:
			b.quarter -= b.quarter % (hourMs / quarterMs)
		}
		if n := len(kept); n > 0 && kept[n-1].quarter == b.quarter {
			kept[n-1].count += b.count
			kept[n-1].merge(b.sums)
		} else {
			kept = append(kept, b)
		}
	}
	return kept
}

// total sums up the buckets of a range of quarters of an hour.
func total(list []bucket, from, to uint32) (count uint64, t sums) {
	for _, b := range list[place(list, from):] {
		if b.quarter >= to {
			break
		}
		if count == 0 {
			t = b.sums
		} else {
			t.merge(b.sums)
		}
		count += uint64(b.count)
	}
	return count, t
}
