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
	ledger.EntryInFuture:         {EntryInFuture, "at_ms"},
	ledger.EntryTooOld:           {EntryTooOld, "at_ms"},
	ledger.EntryIDConflict:       {EntryIDConflict, "entry_id"},
	ledger.PendingNotFound:       {PendingNotFound, "pending_id"},
	ledger.PendingAmountExceeded: {PendingAmountExceeded, "amount"},
	ledger.TooManyCurrencies:     {TooManyCurrencies, "currency"},
	ledger.TooManyGroups:         {TooManyGroups, "kind"},
	ledger.TooManyHolds:          {TooManyHolds, ""},
	ledger.TooManyRecent:         {TooManyRecent, ""},
	ledger.BalanceOverflow:       {BalanceOverflow, "amount"},
}

// feed answers POST /v1/entries: it applies the lines in their order.
func (s *Service) feed(req *Request, res *Response) {
	body := req.Body
	lines := bytes.Count(body, newline)
	if len(body) > 0 && body[len(body)-1] != '\n' {
		lines++
	}
	if lines > maxFeedLines {
		res.refuse(fault{code: TooManyItems})
		return
	}

	w := &res.work
	w.reader.unmarshal = s.unmarshal
	now := s.now()
	accepted, duplicates, rejected := 0, 0, 0
	results := w.parts[:0]
	for index := range lines {
		line := body
		if end := bytes.IndexByte(body, '\n'); end >= 0 {
			line, body = body[:end], body[end+1:]
		}
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
