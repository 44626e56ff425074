package ledger

const (
	chunkLen   = 256
	reclaimMax = 4 // forgotten records freed with each new one
)

// many remembers the entries of a busy user in a queue of chunks, with an index
// by id. Forgotten ones are freed a few at a time, so that no single entry pays
// for it.
type many struct {
	index  map[ID]uint64 // number of the newest record of each id
	chunks map[uint64]*[chunkLen]record
	head   uint64 // number of the oldest record
	tail   uint64 // number of the next one
}

// newMany remembers some records, in the order in which they came.
func newMany(records []record) *many {
	m := &many{index: make(map[ID]uint64, 2*fewMax), chunks: make(map[uint64]*[chunkLen]record)}
	for _, rec := range records {
		m.push(rec)
	}
	return m
}

// at returns the record of a number.
func (m *many) at(number uint64) *record {
	return &m.chunks[number/chunkLen][number%chunkLen]
}

// find returns the record of an id that was kept at since or later, or nil.
func (m *many) find(id ID, since int64) *record {
	number, ok := m.index[id]
	if !ok {
		return nil
	}
	if r := m.at(number); r.kept >= since {
		return r
	}
	return nil
}

// add remembers an entry and forgets a few that were kept before since.
func (m *many) add(rec record, since int64) {
	for range reclaimMax {
		if m.head == m.tail || m.at(m.head).kept >= since {
			break
		}
		m.pop()
	}
	m.push(rec)
}

// push appends a record.
func (m *many) push(rec record) {
	if m.tail%chunkLen == 0 {
		m.chunks[m.tail/chunkLen] = new([chunkLen]record)
	}
	*m.at(m.tail) = rec
	m.index[rec.id] = m.tail
	m.tail++
}

// pop frees the oldest record.
func (m *many) pop() {
	if id := m.at(m.head).id; m.index[id] == m.head {
		delete(m.index, id)
	}
	m.head++
	if m.head%chunkLen == 0 {
		delete(m.chunks, m.head/chunkLen-1)
	}
}

// sparse reports whether a slice is enough again.
func (m *many) sparse() bool {
	return m.tail-m.head < fewMax/2
}

// records returns the records that were kept at since or later.
func (m *many) records(since int64) []record {
	list := make([]record, 0, m.tail-m.head)
	for number := m.head; number < m.tail; number++ {
		if r := m.at(number); r.kept >= since {
			list = append(list, *r)
		}
	}
	return list
}
