package api

import (
	"bytes"
	"strconv"

	"purser/peers/ledger"
)

const (
	maxFeedBytes = 8 << 20
	maxFeedLines = 10_000
)

// verdicts gives each refusing verdict of the ledger its code and field.
var verdicts = [...]fault{
	ledger.EntryInFuture:            {EntryInFuture, "at_ms"},
	ledger.EntryTooOld:              {EntryTooOld, "at_ms"},
	ledger.EntryIDConflict:          {EntryIDConflict, "entry_id"},
	ledger.PendingNotFound:          {PendingNotFound, "pending_id"},
	ledger.PendingMismatchID:        {PendingMismatch, "pending_id"},
	ledger.PendingMismatchCurrency:  {PendingMismatch, "currency"},
	ledger.PendingMismatchDirection: {PendingMismatch, "direction"},
	ledger.TooManyCurrencies:        {TooManyCurrencies, "currency"},
	ledger.TooManyGroups:            {TooManyGroups, "kind"},
	ledger.TooManyHolds:             {TooManyHolds, ""},
	ledger.BalanceOverflow:          {BalanceOverflow, "amount"},
}

// feed answers POST /v1/entries: it applies the lines in their order. Blank lines
// count for nothing.
func (s *Service) feed(lateAccepted bool, req *Request, res *Response) {
	body := req.Body
	if hasTooManyLines(body) {
		res.refuse(fault{code: TooManyItems})
		return
	}

	w := &res.work
	w.reader.unmarshal = s.unmarshal
	w.entry.LateAccepted = lateAccepted
	now := s.now()
	accepted, duplicates, rejected := 0, 0, 0
	results := w.parts[:0]
	for index := -1; len(body) > 0; {
		var line []byte
		if line, body = firstLine(body); isBlank(line) {
			continue
		}
		index++
		id, f := w.reader.entry(line, &w.entry)
		if f.code == None {
			switch v := s.ledger.Apply(now, &w.entry); v {
			case ledger.Accepted:
				accepted++
				continue
			case ledger.Duplicate:
				duplicates++
				results = appendDuplicate(results, index, id)
				continue
			default:
				f = verdicts[v]
			}
		}
		rejected++
		results = appendRejected(results, index, id, f)
	}
	w.parts = results

	res.Status = 200
	if rejected > 0 {
		res.Status = 422
	}
	res.ContentType = jsonType
	b := append(res.Body[:0], `{"accepted":`...)
	b = strconv.AppendInt(b, int64(accepted), 10)
	b = append(b, `,"duplicates":`...)
	b = strconv.AppendInt(b, int64(duplicates), 10)
	b = append(b, `,"rejected":`...)
	b = strconv.AppendInt(b, int64(rejected), 10)
	b = append(b, `,"results":[`...)
	if len(results) > 0 {
		b = append(b, results[1:]...) // without the first comma
	}
	res.Body = append(b, "]}"...)
}

var newline = []byte{'\n'}

// hasTooManyLines reports whether a body has more lines than a feed may have.
func hasTooManyLines(body []byte) bool {
	if bytes.Count(body, newline) < maxFeedLines {
		return false // however many of them are blank
	}
	lines := 0
	for len(body) > 0 {
		var line []byte
		if line, body = firstLine(body); !isBlank(line) {
			lines++
		}
	}
	return lines > maxFeedLines
}

// firstLine splits a body after its first line.
func firstLine(body []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(body, newline)
	return line, rest
}

// isBlank reports whether a line has nothing but spaces, tabs and carriage
// returns.
func isBlank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// appendDuplicate appends a comma and a result. Ids hold nothing that JSON would
// escape.
func appendDuplicate(b []byte, index int, id []byte) []byte {
	b = appendIndex(b, index, id)
	return append(b, `","status":"duplicate"}`...)
}

// appendRejected appends a comma and a result.
func appendRejected(b []byte, index int, id []byte, f fault) []byte {
	b = appendIndex(b, index, id)
	b = append(b, rejectedHeads[f.code]...)
	b = append(b, f.field...)
	b = append(b, `","detail":"`...)
	b = append(b, meanings[f.code].detail...)
	return append(b, `"}`...)
}

func appendIndex(b []byte, index int, id []byte) []byte {
	b = append(b, `,{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	b = append(b, `,"entry_id":"`...)
	return append(b, id...)
}
