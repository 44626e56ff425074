// Package ledger keeps balances and statistics of users in memory.
//
// Users are spread over shards, each with its own lock. A user's state is a few
// short sorted slices, so that a million inactive users stay small.
package ledger

import (
	"strings"
	"sync"
)

const shardBits = 8

// Ledger holds all users. It is safe for concurrent use.
type Ledger struct {
	shards [1 << shardBits]shard
}

// shard holds the users of one slice of the hash space.
type shard struct {
	mu     sync.RWMutex
	number map[uint64]*user // users whose id is a number, which are found faster
	text   map[string]*user // all others
	names  names
	_      [64]byte // keeps two shards' locks off one cache line
}

// New returns an empty ledger.
func New() *Ledger {
	l := new(Ledger)
	for i := range l.shards {
		s := &l.shards[i]
		s.number = make(map[uint64]*user)
		s.text = make(map[string]*user)
		s.names = newNames()
	}
	return l
}

// shard returns the shard of a user.
func (l *Ledger) shard(id UserID) *shard {
	return &l.shards[id.Hash()>>(64-shardBits)]
}

// find returns the user with an id, or nil.
func (s *shard) find(id UserID) *user {
	if id.Text == "" {
		return s.number[id.Number]
	}
	return s.text[id.Text]
}

// create adds a user. It copies the id's text, which may lie in a request.
func (s *shard) create(id UserID) *user {
	u := new(user)
	if id.Text == "" {
		s.number[id.Number] = u
	} else {
		s.text[strings.Clone(id.Text)] = u
	}
	return u
}

// Apply judges an entry and books it if it is accepted. nowMs is the server's
// clock. It keeps no reference to e.
func (l *Ledger) Apply(nowMs int64, e *Entry) Verdict {
	if e.AtMs-aheadMs > nowMs {
		return EntryInFuture
	}
	s := l.shard(e.User)
	s.mu.Lock()
	v := s.apply(e)
	s.mu.Unlock()
	return v
}

// Balances reads a user's balances into out, whose Items are reused. It reports
// whether the user is known.
func (l *Ledger) Balances(id UserID, out *Balances) bool {
	v, ok := l.View(id)
	if !ok {
		return false
	}
	v.Balances(out)
	v.Close()
	return true
}

// PastBalances reads a user's balances before a time into out, whose Items are
// reused. It reports whether the user is known.
func (l *Ledger) PastBalances(id UserID, at int64, out *PastBalances) bool {
	v, ok := l.View(id)
	if !ok {
		return false
	}
	v.PastBalances(at, out)
	v.Close()
	return true
}

// Stats reads a user's statistics into out, whose Items are reused. It reports
// whether the user is known.
func (l *Ledger) Stats(id UserID, q *Question, out *Stats) bool {
	v, ok := l.View(id)
	if !ok {
		return false
	}
	v.Stats(q, out)
	v.Close()
	return true
}

// View returns one user's state, which does not change until the view is closed.
// It reports whether the user is known; if not there is nothing to close. A
// goroutine must close its view before it opens another or calls the ledger.
func (l *Ledger) View(id UserID) (View, bool) {
	s := l.shard(id)
	s.mu.RLock()
	u := s.find(id)
	if u == nil {
		s.mu.RUnlock()
		return View{}, false
	}
	return View{s, u}, true
}
