package ledger

// What the contract allows.
const (
	aheadMs       = hourMs // an entry may be this far ahead of the clock
	horizonMs     = dayMs  // and this far behind the user's latest; ids are kept as long
	maxCurrencies = 16
	maxGroups     = 256
	maxHolds      = 1024
	maxRecent     = 1 << 20
)

// apply judges an entry that is not in the future and books it if it is
// accepted. The first failure wins; nothing changes before all checks passed.
func (s *shard) apply(e *Entry) Verdict {
	u := s.users[e.User]
	if u == nil {
		u = &nobody
	}
	since := u.asOf - horizonMs
	if e.AtMs < since {
		return EntryTooOld
	}

	k := s.key(e)
	if old := u.recent.find(e.ID, since); old != nil {
		if *old == newRecord(e, k) {
			return Duplicate
		}
		return EntryIDConflict
	}
	if _, open := u.hold(e.ID); open {
		return EntryIDConflict
	}

	var posted, held int64 // what this entry adds to the account
	var holdAt int
	switch e.Action {
	case Post:
		posted = e.Amount
	case Hold:
		held = e.Amount
	case Settle, Void:
		i, open := u.hold(e.Hold)
		if !open {
			return PendingNotFound
		}
		h := &u.holds[i]
		if e.Action == Settle {
			posted = e.Amount
			if posted > h.amount {
				return PendingAmountExceeded
			}
		}
		holdAt, held, k = i, -h.amount, h.key
	}

	accountAt, listed := u.account(&s.names, k.currency)
	if !listed && len(u.accounts) == maxCurrencies {
		return TooManyCurrencies
	}
	counts := e.Action == Post || e.Action == Settle
	var groupAt int
	var grouped bool
	if counts {
		groupAt, grouped = u.group(&s.names, k)
		if !grouped && len(u.groups) == maxGroups {
			return TooManyGroups
		}
	}
	if e.Action == Hold && len(u.holds) == maxHolds {
		return TooManyHolds
	}
	asOf := max(u.asOf, e.AtMs)
	if u.recent.full(asOf) {
		return TooManyRecent
	}

	var a account
	if listed {
		a = u.accounts[accountAt]
	}
	if !a.move(k.direction, posted, held) {
		return BalanceOverflow
	}
	if grouped {
		if _, ok := add(u.groups[groupAt].sum, posted); !ok {
			return BalanceOverflow
		}
	}

	// Accepted: from here on nothing fails.
	if u == &nobody {
		u = new(user)
		s.users[e.User] = u
	}
	if k.currency == unknown || k.kind == unknown {
		k.currency, k.kind = s.names.keep(e.Currency), s.names.keep(e.Kind)
	}
	if listed {
		u.accounts[accountAt] = a
	} else {
		a.currency = k.currency
		accountAt, _ = u.account(&s.names, k.currency)
		u.accounts = insert(u.accounts, accountAt, a)
	}
	if counts {
		if !grouped {
			groupAt, _ = u.group(&s.names, k)
			u.groups = insert(u.groups, groupAt, group{key: k})
		}
		u.groups[groupAt].book(e.AtMs, posted, asOf)
	}
	switch e.Action {
	case Hold:
		i, _ := u.hold(e.ID)
		u.holds = insert(u.holds, i, hold{e.ID, e.Amount, k})
	case Settle, Void:
		u.release(holdAt)
	}
	u.recent.add(newRecord(e, k), asOf)
	u.asOf = asOf
	u.version++
	return Accepted
}

// key returns the group that an entry names. Names that the shard has never
// kept are unknown, and equal to no other.
func (s *shard) key(e *Entry) key {
	if e.Action == Settle || e.Action == Void {
		return key{}
	}
	return key{s.names.find(e.Currency), s.names.find(e.Kind), e.Direction}
}
