package api

import (
	"unsafe"

	"purser/peers/ledger"
)

// The members of an entry, in the order in which they are judged.
const (
	entryID = iota
	entryUser
	entryCurrency
	entryKind
	entryDirection
	entryAmount
	entryAt
	entryState
	entryPending
	entryFinal
	entryMetadata // known and not looked at
	entryFields
)

var entryNames = [entryFields]string{
	"entry_id", "user_id", "currency", "kind", "direction", "amount", "at_ms", "state", "pending_id",
	"final", "metadata",
}

// entryField returns which member of an entry has this name, or -1.
func entryField(name []byte) int {
	switch string(name) {
	case "entry_id":
		return entryID
	case "user_id":
		return entryUser
	case "currency":
		return entryCurrency
	case "kind":
		return entryKind
	case "direction":
		return entryDirection
	case "amount":
		return entryAmount
	case "at_ms":
		return entryAt
	case "state":
		return entryState
	case "pending_id":
		return entryPending
	case "final":
		return entryFinal
	case "metadata":
		return entryMetadata
	}
	return -1
}

// maxLineBytes is the limit of a line of a feed.
const maxLineBytes = 64 << 10

// entry parses one line of a feed into e, whose strings may point into the line.
// It also returns the entry's id as it was sent, if that is valid.
func (r *reader) entry(line []byte, e *ledger.Entry) (id []byte, f fault) {
	if len(line) > maxLineBytes {
		return nil, fault{code: LineTooLong}
	}
	i := openObject(line)
	if i > 0 {
		i = r.object(line, i, 1)
	}
	if i > 0 && skipSpace(line, i) != len(line) {
		i = trailingText
	}
	if i < 0 {
		return nil, notJSON(line, i)
	}

	var got [entryFields]*value
	var unknown *member
	repeated := false
	for i := range r.members {
		m := &r.members[i]
		n := entryField(m.name)
		switch {
		case n < 0:
			if unknown == nil {
				unknown = m
			}
		case got[n] != nil:
			repeated = true
		default:
			got[n] = &m.value
		}
	}
	if repeated || unknown != nil {
		if name, found := r.repeated(); found {
			return nil, fault{JSONRepeated, echo(name)}
		}
	}

	if v := got[entryID]; v != nil {
		if text, ok := r.str(v); ok {
			if e.ID, ok = parseID(text); ok {
				id = text
			}
		}
	}
	if unknown != nil {
		return id, fault{UnknownField, echo(unknown.name)}
	}
	if code, field := r.fields(&got, id != nil, e); code != None {
		return id, fault{code, entryNames[field]}
	}
	return id, fault{}
}

// fields validates the members of an entry in order and fills e. It returns
// the first failure.
func (r *reader) fields(got *[entryFields]*value, goodID bool, e *ledger.Entry) (Code, int) {
	named := got[entryPending] != nil
	state, stateIsString := []byte(nil), false
	if v := got[entryState]; v != nil {
		state, stateIsString = r.str(v)
	}
	voided := stateIsString && string(state) == "voided"

	switch {
	case got[entryID] == nil:
		return MissingField, entryID
	case !goodID:
		return InvalidField, entryID
	}

	if v := got[entryUser]; v == nil {
		return MissingField, entryUser
	} else if text, ok := r.str(v); !ok {
		return InvalidField, entryUser
	} else if e.User, ok = parseUser(borrowed(text)); !ok {
		return InvalidField, entryUser
	}

	// What is the hold's may be left out, all of it.
	e.HasTerms = !named && !voided || got[entryCurrency] != nil || got[entryKind] != nil ||
		got[entryDirection] != nil
	e.Currency, e.Kind, e.Direction = "", "", ledger.Credit
	if e.HasTerms {
		if code, n := r.terms(got, e); code != None {
			return code, n
		}
	}

	e.Amount, e.HasAmount = 0, got[entryAmount] != nil
	if e.HasAmount {
		var code Code
		if e.Amount, code = parseAmount(got[entryAmount]); code != None {
			return code, entryAmount
		}
	} else if !voided {
		return MissingField, entryAmount
	}

	if v := got[entryAt]; v == nil {
		return MissingField, entryAt
	} else if v.kind != numberValue {
		return InvalidField, entryAt
	} else {
		var ok bool
		if e.AtMs, ok = parseTime(v.text); !ok {
			return InvalidField, entryAt
		}
	}

	e.Action = ledger.Post
	if named {
		e.Action = ledger.Settle
	}
	if got[entryState] != nil {
		switch {
		case stateIsString && string(state) == "posted":
		case stateIsString && string(state) == "pending" && named:
			e.Action = ledger.Grow
		case stateIsString && string(state) == "pending":
			e.Action = ledger.Hold
		case voided:
			e.Action = ledger.Void
		default:
			return InvalidField, entryState
		}
	}

	e.Hold = ledger.ID{}
	if named {
		text, ok := r.str(got[entryPending])
		if !ok {
			return InvalidField, entryPending
		}
		if e.Hold, ok = parseID(text); !ok {
			return InvalidField, entryPending
		}
	} else if voided {
		return MissingField, entryPending
	}

	e.Final = e.Action == ledger.Settle
	if v := got[entryFinal]; v != nil {
		last, ok := v.boolean()
		if !ok || e.Action != ledger.Settle {
			return InvalidField, entryFinal
		}
		e.Final = last
	}
	return None, 0
}

// terms validates currency, kind and direction of an entry, all of which it must
// have.
func (r *reader) terms(got *[entryFields]*value, e *ledger.Entry) (Code, int) {
	for n := entryCurrency; n <= entryDirection; n++ {
		if got[n] == nil {
			return MissingField, n
		}
		text, ok := r.str(got[n])
		if !ok {
			return InvalidField, n
		}
		switch n {
		case entryCurrency:
			ok = isCurrency(text)
			e.Currency = borrowed(text)
		case entryKind:
			ok = isKind(text)
			e.Kind = borrowed(text)
		case entryDirection:
			switch string(text) {
			case "credit":
				e.Direction = ledger.Credit
			case "debit":
				e.Direction = ledger.Debit
			default:
				ok = false
			}
		}
		if !ok {
			return InvalidField, n
		}
	}
	return None, 0
}

// borrowed returns b as a string without copying. It is valid as long as b.
func borrowed(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}
