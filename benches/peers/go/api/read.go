package api

import (
	"strconv"
	"strings"

	"purser/peers/ledger"
)

// balance answers GET /v1/users/{user_id}/balance.
func (s *Service) balance(user uint64, q *question, ifNoneMatch string, res *Response) {
	bal := &res.work.balances
	if !s.ledger.Balances(user, bal) {
		res.refuse(fault{code: UserNotFound})
		return
	}
	tag := append(res.ETag[:0], '"', 'v')
	tag = strconv.AppendUint(tag, bal.Version, 10)
	res.ETag = append(tag, '"')
	if ifNoneMatch != "" && matches(ifNoneMatch, borrowed(res.ETag)) {
		res.Status = 304
		return
	}
	res.Status = 200
	res.ContentType = jsonType
	res.Body = appendBalances(res.Body[:0], user, bal, q.currency)
}

// stats answers GET /v1/users/{user_id}/stats.
func (s *Service) stats(user uint64, q *question, res *Response) {
	st := &res.work.stats
	lq := s.ledgerQuestion(q, s.now())
	if !s.ledger.Stats(user, &lq, st) {
		res.refuse(fault{code: UserNotFound})
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

// matches reports whether the list of an If-None-Match names this entity tag,
// compared weakly.
func matches(list, tag string) bool {
	list = strings.Trim(list, " \t")
	if list == "*" {
		return true
	}
	for {
		list = strings.TrimLeft(list, " \t,")
		list = strings.TrimPrefix(list, "W/")
		if list == "" || list[0] != '"' {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if list[:end+2] == tag {
			return true
		}
		list = list[end+2:]
	}
}
