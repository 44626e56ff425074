package ledger

// What the contract allows.
const (
	aheadMs       = hourMs // an entry may be this far ahead of the clock
	windowMs      = dayMs  // the longest dedup window, back from the user's latest
	span          = 524288 // accepted entries after which a window begins anew
	maxCurrencies = 16
	maxGroups     = 256
	maxHolds      = 65536
)

// apply judges an entry that is not in the future and books it if it is
// accepted. The first failure wins; nothing changes before all checks passed.
func (s *shard) apply(e *Entry) Verdict {
	u := s.find(e.User)
	if u == nil {
		u = &nobody
	}
	since := u.since()
	if e.AtMs < since && !e.LateAccepted {
		return EntryTooOld
	}

	own := s.key(e)
	rec := newRecord(e, own)
	if old := u.recent.find(e.ID, since); old != nil {
		if old.same(&rec) {
			return Duplicate
		}
		return EntryIDConflict
	}
	if h, open := u.holds[e.ID]; open && h.own {
		return EntryIDConflict
	}

	holdID := e.Hold
	if e.Action == Hold {
		holdID = e.ID
	}
	var h hold
	open := false
	if e.Action != Post {
		h, open = u.holds[holdID]
	}
	k := own
	if open {
		if v := h.differs(e, own); v != Accepted {
			return v
		}
		k = h.key
		if e.HasTerms {
			k.kind = own.kind
		}
	} else if !e.HasTerms {
		return PendingNotFound
	}

	posted, held := e.moves(h.amount) // what this entry adds to the account
	opens := !open && held > 0
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
	if opens && len(u.holds) == maxHolds {
		return TooManyHolds
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
		u = s.create(e.User)
	}
	if e.HasTerms {
		rec.currency, rec.kind = s.names.keep(e.Currency), s.names.keep(e.Kind)
		k.currency, k.kind = rec.currency, rec.kind
	}
	if listed {
		u.accounts[accountAt] = a
	} else {
		a.currency = k.currency
		accountAt, _ = u.account(&s.names, k.currency)
		u.accounts = insert(u.accounts, accountAt, a)
	}
	u.asOf = max(u.asOf, e.AtMs)
	if counts {
		if !grouped {
			groupAt, _ = u.group(&s.names, k)
			u.groups = insert(u.groups, groupAt, group{key: k})
		}
		u.groups[groupAt].book(e.AtMs, posted, u.asOf)
	}
	if opens {
		h.key = k
	}
	if open || opens {
		h.amount += held
		h.own = h.own || e.Action == Hold
		u.setHold(holdID, h)
	}
	u.version++
	if u.version%span == 0 {
		u.restart, u.nextRestart = u.nextRestart, u.asOf
	}
	rec.kept = u.asOf
	u.recent.add(rec, u.since())
	return Accepted
}

// moves returns the amount that an entry posts and the one that it adds to what
// is held, with left still held by the hold that it names.
func (e *Entry) moves(left int64) (posted, held int64) {
	switch e.Action {
	case Post:
		return e.Amount, 0
	case Hold, Grow:
		return 0, e.Amount
	case Settle:
		if e.Final {
			return e.Amount, -left
		}
		return e.Amount, -min(e.Amount, left)
	}
	if e.HasAmount {
		return 0, -min(e.Amount, left)
	}
	return 0, -left
}

// key returns the group that an entry names itself. Names that the shard has
// never kept are unknown, and equal to no other.
func (s *shard) key(e *Entry) key {
	if !e.HasTerms {
		return key{}
	}
	return key{s.names.find(e.Currency), s.names.find(e.Kind), e.Direction}
}
