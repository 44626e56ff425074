package ledger

const (
	ringLen    = 128 // 15-minute buckets; the horizon touches 97
	chunkLen   = 256
	reclaimMax = 4 // expired records freed with each new one
)

// many remembers the entries of a busy user. Records live in slots of chunks,
// which are linked by 15-minute bucket. When the horizon passes a bucket, its
// whole list expires; the slots are reclaimed a few at a time, so that no single
// entry pays for it.
type many struct {
	index   map[ID]uint32 // the newest slot of each id
	chunks  []*[chunkLen]slot
	used    uint32 // slots ever used; slot 0 is not, it ends lists
	free    uint32 // list of slots to use again
	expired uint32 // list of slots to give up
	first   uint32 // start that holds the horizon
	live    int    // records of first or later
	ring    [ringLen]queue
}

// slot holds a record and the number of the next slot of its list.
type slot struct {
	record
	next uint32
}

// queue is the list of the records of one 15-minute bucket, in the order in
// which they came.
type queue struct {
	head, tail uint32
	len        int
}

// newMany returns an empty one with the horizon in the bucket first.
func newMany(first uint32) *many {
	return &many{index: make(map[ID]uint32, 2*fewMax), used: 1, first: first}
}

// slot returns the slot of a number.
func (m *many) slot(number uint32) *slot {
	return &m.chunks[number/chunkLen][number%chunkLen]
}

// find returns the record of an id at since or later, or nil.
func (m *many) find(id ID, since int64) *record {
	number, ok := m.index[id]
	if !ok {
		return nil
	}
	if r := &m.slot(number).record; r.at() >= since {
		return r
	}
	return nil
}

// count returns the number of records in the bucket first and later, which is
// not before the horizon.
func (m *many) count(first uint32) int {
	count := m.live
	for q := m.first; q < min(first, m.first+ringLen); q++ {
		count -= m.ring[q%ringLen].len
	}
	return count
}

// add remembers an entry, with the horizon in the bucket first.
func (m *many) add(r record, first uint32) {
	m.advance(first)
	m.reclaim()
	number := m.take()
	s := m.slot(number)
	s.record, s.next = r, 0
	q := &m.ring[r.bucket()%ringLen]
	if q.len == 0 {
		q.head = number
	} else {
		m.slot(q.tail).next = number
	}
	q.tail = number
	q.len++
	m.live++
	m.index[r.id] = number
}

// advance moves the horizon to the bucket first.
func (m *many) advance(first uint32) {
	for i := m.first; i < min(first, m.first+ringLen); i++ {
		q := &m.ring[i%ringLen]
		if q.len > 0 {
			m.slot(q.tail).next = m.expired
			m.expired = q.head
			m.live -= q.len
			*q = queue{}
		}
	}
	m.first = first
}

// reclaim frees a few expired records.
func (m *many) reclaim() {
	for range reclaimMax {
		number := m.expired
		if number == 0 {
			return
		}
		s := m.slot(number)
		if m.index[s.id] == number {
			delete(m.index, s.id)
		}
		m.expired = s.next
		s.next = m.free
		m.free = number
	}
}

// take returns a slot for a new record.
func (m *many) take() uint32 {
	if number := m.free; number != 0 {
		m.free = m.slot(number).next
		return number
	}
	number := m.used
	if number/chunkLen == uint32(len(m.chunks)) {
		m.chunks = append(m.chunks, new([chunkLen]slot))
	}
	m.used++
	return number
}

// sparse reports whether so few slots are live that rebuilding from them saves
// memory.
func (m *many) sparse() bool {
	return m.live < int(m.used)/16
}

// records returns the live records, oldest bucket first.
func (m *many) records() []record {
	list := make([]record, 0, m.live+m.live/4+1)
	for i := range uint32(ringLen) {
		for number := m.ring[(m.first+i)%ringLen].head; number != 0; {
			s := m.slot(number)
			list = append(list, s.record)
			number = s.next
		}
	}
	return list
}
