package ledger

import (
	"cmp"
	"slices"
)

// fewMax is the number of records above which an index is faster than a slice.
const fewMax = 256

// recent remembers the entries within the horizon. It keeps those of whole
// 15-minute buckets, since the limit on their number is counted by these;
// find leaves out the ones that are too old.
type recent struct {
	few  []record // sorted by id
	many *many    // instead of few, if there are many
}

// find returns the record of an id at since or later, or nil. There is at most
// one: while it is remembered no other is accepted.
func (r *recent) find(id ID, since int64) *record {
	if r.many != nil {
		return r.many.find(id, since)
	}
	for i := r.place(id); i < len(r.few) && r.few[i].id == id; i++ {
		if r.few[i].at() >= since {
			return &r.few[i]
		}
	}
	return nil
}

// full reports whether one more entry would exceed the limit if the user's
// latest is at asOf.
func (r *recent) full(asOf int64) bool {
	return r.many != nil && r.many.count(oldest(asOf)) >= maxRecent
}

// add remembers an entry. asOf is the time of the user's latest, this one
// included.
func (r *recent) add(rec record, asOf int64) {
	first := oldest(asOf)
	if r.many != nil {
		r.many.add(rec, first)
		if r.many.sparse() {
			r.rebuild(r.many.records(), first)
		}
		return
	}
	if len(r.few) == cap(r.few) {
		r.few = slices.DeleteFunc(r.few, func(old record) bool { return old.bucket() < first })
		if len(r.few) >= fewMax {
			slices.SortFunc(r.few, func(a, b record) int { return cmp.Compare(a.what, b.what) })
			r.rebuild(r.few, first)
			r.many.add(rec, first)
			return
		}
		r.few = fit(r.few)
	}
	r.few = insert(r.few, r.place(rec.id), rec)
}

// rebuild replaces the contents by the given records, in the form that suits
// their number. Of two with one id the later must be the newer.
func (r *recent) rebuild(records []record, first uint32) {
	*r = recent{}
	if len(records) < fewMax {
		slices.SortFunc(records, func(a, b record) int { return a.id.compare(b.id) })
		r.few = records
		return
	}
	r.many = newMany(first)
	for _, rec := range records {
		r.many.add(rec, first)
	}
}

// place returns the index of the first of few with this id or a later one.
func (r *recent) place(id ID) int {
	low, high := 0, len(r.few)
	for low < high {
		mid := int(uint(low+high) / 2)
		if r.few[mid].id.compare(id) < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// oldest returns the 15-minute bucket that holds the horizon of a user whose
// latest entry is at asOf.
func oldest(asOf int64) uint32 {
	return uint32(max(asOf-horizonMs, 0) / bucketMs)
}
