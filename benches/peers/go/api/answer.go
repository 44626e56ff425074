package api

import (
	"math/big"
	"strconv"

	"purser/peers/ledger"
)

// appendUser appends a user id, which holds nothing that JSON would escape.
func appendUser(b []byte, id ledger.UserID) []byte {
	if id.Text == "" {
		return strconv.AppendUint(b, id.Number, 10)
	}
	return append(b, id.Text...)
}

// appendBalances appends the body of a balance answer; an empty currency selects
// all.
func appendBalances(b []byte, user ledger.UserID, bal *ledger.Balances, currency string) []byte {
	b = append(b, `{"user_id":"`...)
	b = appendUser(b, user)
	b = append(b, `","version":`...)
	b = strconv.AppendUint(b, bal.Version, 10)
	b = append(b, `,"as_of_ms":`...)
	b = strconv.AppendInt(b, bal.AsOfMs, 10)
	b = append(b, `,"balances":[`...)
	first := true
	for i := range bal.Items {
		it := &bal.Items[i]
		if currency != "" && currency != it.Currency {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, `{"currency":"`...)
		b = append(b, it.Currency...)
		b = append(b, `","posted":`...)
		b = strconv.AppendInt(b, it.Posted, 10)
		b = append(b, `,"pending_debits":`...)
		b = strconv.AppendInt(b, it.PendingDebits, 10)
		b = append(b, `,"pending_credits":`...)
		b = strconv.AppendInt(b, it.PendingCredits, 10)
		b = append(b, `,"available":`...)
		b = strconv.AppendInt(b, it.Available, 10)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// appendPastBalances appends the body of an answer about past balances; an empty
// currency selects all.
func appendPastBalances(b []byte, user ledger.UserID, bal *ledger.PastBalances,
	currency string) []byte {
	b = append(b, `{"user_id":"`...)
	b = appendUser(b, user)
	b = append(b, `","version":`...)
	b = strconv.AppendUint(b, bal.Version, 10)
	b = append(b, `,"as_of_ms":`...)
	b = strconv.AppendInt(b, bal.AsOfMs, 10)
	b = append(b, `,"at_ms":`...)
	b = strconv.AppendInt(b, bal.AtMs, 10)
	b = append(b, `,"balances":[`...)
	first := true
	for i := range bal.Items {
		it := &bal.Items[i]
		if currency != "" && currency != it.Currency {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, `{"currency":"`...)
		b = append(b, it.Currency...)
		b = append(b, `","posted":`...)
		b = append(appendWide(b, it.Hi, it.Lo), '}')
	}
	return append(b, "]}"...)
}

// appendWide appends an integer of 128 bits.
func appendWide(b []byte, hi int64, lo uint64) []byte {
	if hi == int64(lo)>>63 {
		return strconv.AppendInt(b, int64(lo), 10)
	}
	n := new(big.Int).Lsh(big.NewInt(hi), 64)
	return n.Add(n, new(big.Int).SetUint64(lo)).Append(b, 10)
}

// appendStats appends the body of a statistics answer.
func appendStats(b []byte, user ledger.UserID, st *ledger.Stats) []byte {
	b = append(b, `{"user_id":"`...)
	b = appendUser(b, user)
	b = append(b, `","version":`...)
	b = strconv.AppendUint(b, st.Version, 10)
	b = append(b, `,"from_ms":`...)
	b = strconv.AppendInt(b, st.FromMs, 10)
	b = append(b, `,"to_ms":`...)
	b = strconv.AppendInt(b, st.ToMs, 10)
	b = append(b, `,"stats":[`...)
	for i := range st.Items {
		it := &st.Items[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"currency":"`...)
		b = append(b, it.Currency...)
		b = append(b, `","kind":"`...)
		b = append(b, it.Kind...)
		b = append(b, `","direction":"`...)
		b = append(b, it.Direction.String()...)
		b = append(b, `","count":`...)
		b = strconv.AppendUint(b, it.Count, 10)
		b = append(b, `,"sum":`...)
		b = strconv.AppendInt(b, it.Sum, 10)
		b = append(b, `,"min":`...)
		b = strconv.AppendInt(b, it.Min, 10)
		b = append(b, `,"max":`...)
		b = strconv.AppendInt(b, it.Max, 10)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}
