package ledger

import "github.com/zeebo/xxh3"

// ID is the 128-bit identity of an entry.
type ID struct{ Hi, Lo uint64 }

// UserID names a user: a decimal number without leading zeros below 2^64 is kept
// as that number with an empty Text, every other id as its text.
type UserID struct {
	Number uint64
	Text   string
}

// Hash spreads ids over 64 bits, best in the high ones.
func (id UserID) Hash() uint64 {
	if id.Text == "" {
		return id.Number * 0x9e3779b97f4a7c15
	}
	return xxh3.HashString(id.Text)
}

// Direction is the direction of an amount.
type Direction uint8

// The two directions, in the order of their names.
const (
	Credit Direction = iota
	Debit
)

// String returns the direction's name on the wire.
func (d Direction) String() string {
	if d == Debit {
		return "debit"
	}
	return "credit"
}

// Action is what an entry does.
type Action uint8

// Post moves an amount. Hold opens the hold of its own id or makes it grow, Grow
// does so with another one. Settle posts an amount and releases as much of a
// hold, Void only releases.
const (
	Post Action = iota
	Hold
	Grow
	Settle
	Void
)

// Entry is one line of the feed, parsed and valid in itself.
type Entry struct {
	ID        ID
	User      UserID
	HasTerms  bool   // whether it has its own currency, kind and direction
	Currency  string // empty without own terms
	Kind      string
	Direction Direction
	HasAmount bool  // always, but for a Void of all that is held
	Amount    int64 // 0 without
	AtMs      int64
	Action    Action
	Hold      ID   // the hold that a Grow, Settle or Void names
	Final     bool // whether a Settle releases the rest; else false

	LateAccepted bool // whether it is booked even if it is late; no field of the entry
}

// Verdict is the outcome of an entry.
type Verdict uint8

// The verdicts; after Accepted, in order of precedence.
const (
	Accepted Verdict = iota
	Duplicate
	EntryInFuture
	EntryTooOld
	EntryIDConflict
	PendingNotFound
	PendingMismatchID // field pending_id
	PendingMismatchCurrency
	PendingMismatchDirection
	TooManyCurrencies
	TooManyGroups
	TooManyHolds
	BalanceOverflow
)

// Balance is the state of one currency of a user.
type Balance struct {
	Currency       string
	Posted         int64
	PendingDebits  int64
	PendingCredits int64
	Available      int64
}

// Balances answers a balance read. Items are sorted by currency and never nil.
type Balances struct {
	Version uint64
	AsOfMs  int64
	Items   []Balance
}

// PastBalance is what was posted in one currency of a user before an instant, a
// number of 128 bits.
type PastBalance struct {
	Currency string
	Hi       int64
	Lo       uint64
}

// PastBalances answers a read of past balances. Items are sorted by currency and
// never nil.
type PastBalances struct {
	Version uint64
	AsOfMs  int64
	AtMs    int64
	Items   []PastBalance
}

// Question asks for statistics. A WindowMs of 0 means the whole lifetime; an
// empty Currency or Kind means any.
type Question struct {
	WindowMs int64
	AtMs     int64
	Currency string
	Kind     string
}

// Stat sums up one group of posted entries.
type Stat struct {
	Currency  string
	Kind      string
	Direction Direction
	Count     uint64
	Sum       int64
	Min       int64
	Max       int64
}

// Stats answers a statistics read for the range FromMs to ToMs, half open.
// Items are sorted by currency, kind and direction and never nil.
type Stats struct {
	Version uint64
	FromMs  int64
	ToMs    int64
	Items   []Stat
}
