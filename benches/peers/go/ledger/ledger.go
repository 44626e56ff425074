// Package ledger keeps balances and statistics of users in memory.
//
// Users are spread over shards, each with its own lock. A user's state is a few
// short sorted slices, so that a million inactive users stay small.
package ledger

import "sync"

const shardBits = 8

// Ledger holds all users. It is safe for concurrent use.
type Ledger struct {
	shards [1 << shardBits]shard
}

// shard holds the users of one slice of the hash space.
type shard struct {
	mu    sync.RWMutex
	users map[uint64]*user
	names names
	_     [64]byte // keeps two shards' locks off one cache line
}

// New returns an empty ledger.
func New() *Ledger {
	l := new(Ledger)
	for i := range l.shards {
		s := &l.shards[i]
		s.users = make(map[uint64]*user)
		s.names = newNames()
	}
	return l
}

// shard returns the shard of a user.
func (l *Ledger) shard(user uint64) *shard {
	return &l.shards[user*0x9e3779b97f4a7c15>>(64-shardBits)]
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
func (l *Ledger) Balances(user uint64, out *Balances) bool {
	v, ok := l.View(user)
	if !ok {
		return false
	}
	v.Balances(out)
	v.Close()
	return true
}

// PastBalances reads a user's balances before a time into out, whose Items are
// reused. It reports whether the user is known.
func (l *Ledger) PastBalances(user uint64, at int64, out *PastBalances) bool {
	v, ok := l.View(user)
	if !ok {
		return false
	}
	v.PastBalances(at, out)
	v.Close()
	return true
}

// Stats reads a user's statistics into out, whose Items are reused. It reports
// whether the user is known.
func (l *Ledger) Stats(user uint64, q *Question, out *Stats) bool {
	v, ok := l.View(user)
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
func (l *Ledger) View(user uint64) (View, bool) {
	s := l.shard(user)
	s.mu.RLock()
	u := s.users[user]
	if u == nil {
		s.mu.RUnlock()
		return View{}, false
	}
	return View{s, u}, true
}
