package ledger

// record is a remembered entry: all of its fields, so that a repeated entry can
// be told from another one of the same id. Records of one user are the same if
// and only if the entries are.
type record struct {
	id       ID
	hold     ID
	amount   int64
	what     uint64 // time, action and flags
	currency name   // its own ones, else unknown
	kind     name
	kept     int64 // the time of the user's latest entry when it was accepted
}

// newRecord returns the record of an entry whose own currency and kind have the
// names in own.
func newRecord(e *Entry, own key) record {
	r := record{id: e.ID, hold: e.Hold, amount: e.Amount, currency: own.currency, kind: own.kind}
	r.what = uint64(e.AtMs)<<8 | uint64(e.Action)
	isDebit := e.HasTerms && e.Direction == Debit
	for i, flag := range [...]bool{e.HasTerms, isDebit, e.HasAmount, e.Final} {
		if flag {
			r.what |= 8 << i
		}
	}
	return r
}

// same reports whether another record is of the same entry. Names that are
// unknown are the same as no other.
func (r *record) same(o *record) bool {
	a := *r
	a.kept = o.kept
	return a == *o
}
