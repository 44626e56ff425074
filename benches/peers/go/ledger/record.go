package ledger

// record is a remembered entry: all of its fields, so that a repeated entry can
// be told from another one of the same id. Records of one user are equal if and
// only if the entries are.
type record struct {
	id     ID
	ref    ID // a settlement's hold; else currency and kind
	amount int64
	what   uint64 // time, action and direction
}

// newRecord returns the record of an entry whose currency and kind have the
// names in k. A settlement has none of its own, whatever k says.
func newRecord(e *Entry, k key) record {
	r := record{id: e.ID, what: uint64(e.AtMs)<<3 | uint64(e.Action)<<1}
	switch e.Action {
	case Settle:
		r.ref, r.amount = e.Hold, e.Amount
	case Void:
		r.ref = e.Hold
	default:
		r.ref.Hi, r.ref.Lo, r.amount = uint64(k.currency), uint64(k.kind), e.Amount
		r.what |= uint64(e.Direction)
	}
	return r
}

// at returns the entry's time.
func (r *record) at() int64 {
	return int64(r.what >> 3)
}

// bucket returns the entry's time in 15-minute buckets since the epoch.
func (r *record) bucket() uint32 {
	return uint32(r.at() / bucketMs)
}
