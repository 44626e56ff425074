package ledger

import "slices"

// fewMax is the number of records above which an index is faster than a slice.
const fewMax = 32

// recent remembers the accepted entries of the dedup window. They are kept with
// the time of the user's latest entry, which never decreases, so the first that
// came are the first to be forgotten.
type recent struct {
	few  []record // in the order in which they came
	many *many    // instead of few, if there are many
}

// find returns the record of an id that was kept at since or later, or nil.
// There is at most one: while it is remembered no other is accepted.
func (r *recent) find(id ID, since int64) *record {
	if r.many != nil {
		return r.many.find(id, since)
	}
	for i := len(r.few) - 1; i >= 0 && r.few[i].kept >= since; i-- {
		if r.few[i].id == id {
			return &r.few[i]
		}
	}
	return nil
}

// add remembers an entry. The window begins at since, this entry included.
func (r *recent) add(rec record, since int64) {
	if r.many != nil {
		r.many.add(rec, since)
		if r.many.sparse() {
			*r = recent{few: r.many.records(since)}
		}
		return
	}
	if len(r.few) == cap(r.few) {
		r.few = slices.DeleteFunc(r.few, func(old record) bool { return old.kept < since })
		if len(r.few) >= fewMax {
			r.many = newMany(r.few)
			r.few = nil
			r.many.add(rec, since)
			return
		}
		r.few = fit(r.few)
	}
	r.few = append(r.few, rec)
}
