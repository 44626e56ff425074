package api

import (
	"strconv"
	"strings"

	"purser/peers/ledger"
)

// balance answers GET /v1/users/{user_id}/balance.
func (s *Service) balance(user ledger.UserID, q *question, req *Request, res *Response) {
	res.NoCache = true
	bal, past := &res.work.balances, &res.work.past
	var known bool
	var version uint64
	if q.hasAt {
		known = s.ledger.PastBalances(user, q.atMs, past)
		version = past.Version
	} else {
		known = s.ledger.Balances(user, bal)
		version = bal.Version
	}
	if !known {
		res.refuse(fault{code: UserNotFound})
		return
	}
	tag := append(res.ETag[:0], '"', 'v')
	tag = strconv.AppendUint(tag, version, 10)
	tag = append(tag, '"')
	if req.HasIfMatch && !names(req.IfMatch, borrowed(tag), false) {
		res.refuse(fault{code: VersionChanged})
		return
	}
	res.ETag = tag
	if req.IfNoneMatch != "" && names(req.IfNoneMatch, borrowed(tag), true) {
		res.Status = 304
		return
	}
	res.Status = 200
	res.ContentType = jsonType
	if q.hasAt {
		res.Body = appendPastBalances(res.Body[:0], user, past, q.currency)
	} else {
		res.Body = appendBalances(res.Body[:0], user, bal, q.currency)
	}
}

// stats answers GET /v1/users/{user_id}/stats. Statistics have no entity tag, so
// that no tag of an If-Match is theirs.
func (s *Service) stats(user ledger.UserID, q *question, req *Request, res *Response) {
	res.NoCache = true
	st := &res.work.stats
	lq := s.ledgerQuestion(q, s.now())
	if !s.ledger.Stats(user, &lq, st) {
		res.refuse(fault{code: UserNotFound})
		return
	}
	if req.HasIfMatch && !isAny(req.IfMatch) {
		res.refuse(fault{code: VersionChanged})
		return
	}
	res.Status = 200
	res.ContentType = jsonType
	res.Body = appendStats(res.Body[:0], user, st)
}

// ledgerQuestion puts a question to the ledger; now stands in for a missing
// at_ms.
func (s *Service) ledgerQuestion(q *question, now int64) ledger.Question {
	at := now
	if q.hasAt {
		at = q.atMs
	}
	return ledger.Question{WindowMs: q.windowMs, AtMs: at, Currency: q.currency, Kind: q.kind}
}

// isAny reports whether the value of an If-Match or If-None-Match is any tag.
func isAny(list string) bool {
	return strings.Trim(list, " \t") == "*"
}

// names reports whether the list of an If-Match or If-None-Match names an entity
// tag before the first fault in it. Weakly compared, a weak tag is as good as the
// strong one.
func names(list, tag string, weakly bool) bool {
	if isAny(list) {
		return true
	}
	for {
		list = strings.TrimLeft(list, " \t,")
		strong, isWeak := strings.CutPrefix(list, "W/")
		end := tagEnd(strong)
		if end == 0 {
			return false
		}
		list = strings.TrimLeft(strong[end:], " \t")
		if list != "" && list[0] != ',' {
			return false
		}
		if strong[:end] == tag && (weakly || !isWeak) {
			return true
		}
	}
}

// tagEnd returns the length of the quoted tag at the start of s, or 0.
func tagEnd(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c <= ' ' || c == 0x7f:
			return 0
		}
	}
	return 0
}
