package api

import (
	"strconv"

	"purser/peers/ledger"
)

const (
	maxBatchBytes = 256 << 10
	maxBatchItems = 1000
)

// read is one item of a batch.
type read struct {
	user  ledger.UserID
	stats bool
	question

	next int  // the next item of the same user, or 0
	more bool // an earlier item of the same user exists
	part span // where the answer is
}

// span is a range of a buffer.
type span struct{ from, to int }

// The members of an item, in the order in which they are judged.
const (
	itemUser = iota
	itemRead
	itemWindow
	itemAt
	itemCurrency
	itemKind
	itemFields
)

var itemNames = [itemFields]string{"user_id", "read", "window", "at_ms", "currency", "kind"}

func itemField(name []byte) int {
	switch string(name) {
	case "user_id":
		return itemUser
	case "read":
		return itemRead
	case "window":
		return itemWindow
	case "at_ms":
		return itemAt
	case "currency":
		return itemCurrency
	case "kind":
		return itemKind
	}
	return -1
}

// batch is the result of parsing a batch's body in one pass. The failure to
// report is chosen once the whole text is known to be JSON.
type batch struct {
	reads    []read
	items    int
	repeated fault // the first item with a repeated member
	wrong    fault // the first item with anything else wrong
}

// readBatch parses a batch's body.
func (r *reader) readBatch(body []byte, bt *batch) fault {
	*bt = batch{reads: bt.reads[:0]}
	i := openObject(body)
	if i < 0 {
		return notJSON(body, i)
	}
	i = skipSpace(body, i)

	const list = "requests"
	var seen map[string]struct{} // names that are not known
	var repeated, unknown fault
	found, isList := false, false
	more := true
	if i < len(body) && body[i] == '}' {
		i, more = i+1, false
	}
	for more {
		name, at := scanName(body, i)
		if at < 0 {
			return notJSON(body, at)
		}
		text := r.decoded(name)
		again := false
		switch {
		case string(text) != list:
			if unknown.code == None {
				unknown = fault{UnknownField, echo(text)}
				seen = make(map[string]struct{})
			}
			_, again = seen[string(text)]
			seen[string(text)] = struct{}{}
			_, i = scanValue(body, at, 1)
		case !found && at < len(body) && body[at] == '[':
			found, isList = true, true
			i = r.items(body, at+1, bt)
		default:
			again = found
			found = true
			_, i = scanValue(body, at, 1)
		}
		if i < 0 {
			return notJSON(body, i)
		}
		if again && repeated.code == None {
			repeated = fault{JSONRepeated, echo(text)}
		}
		if i, more = scanNext(body, i, '}'); i < 0 {
			return notJSON(body, i)
		}
	}
	if skipSpace(body, i) != len(body) {
		return notJSON(body, trailingText)
	}

	switch {
	case bt.items > maxBatchItems:
		return fault{TooManyItems, list}
	case repeated.code != None:
		return repeated
	case bt.repeated.code != None:
		return bt.repeated
	case unknown.code != None:
		return unknown
	case !found:
		return fault{MissingField, list}
	case !isList:
		return fault{InvalidField, list}
	}
	return bt.wrong
}

// items reads the list whose first byte after the bracket is b[i], and returns
// the position after it, or a fault.
func (r *reader) items(b []byte, i int, bt *batch) int {
	i = skipSpace(b, i)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for more := true; more; {
		if i < len(b) && b[i] == '{' {
			if i = r.object(b, i+1, 3); i < 0 {
				return i
			}
			r.item(bt)
		} else {
			if _, i = scanValue(b, i, 2); i < 0 {
				return i
			}
			bt.fail(fault{code: InvalidField})
		}
		bt.items++
		i, more = scanNext(b, i, ']')
	}
	return i
}

// fail records the failure of the current item, if it is the first.
func (bt *batch) fail(f fault) {
	first := &bt.wrong
	if f.code == JSONRepeated {
		first = &bt.repeated
	}
	if first.code != None {
		return
	}
	field := "requests[" + strconv.Itoa(bt.items) + "]"
	if f.field != "" {
		field += "." + f.field
	}
	*first = fault{f.code, field}
}

// item validates the members of the current item and adds a read to the batch.
func (r *reader) item(bt *batch) {
	var got [itemFields]*value
	strange, repeated := false, false
	for i := range r.members {
		m := &r.members[i]
		n := itemField(m.name)
		switch {
		case n < 0:
			strange = true
		case got[n] != nil:
			repeated = true
		default:
			got[n] = &m.value
		}
	}
	if strange || repeated {
		if name, found := r.repeated(); found {
			bt.fail(fault{JSONRepeated, echo(name)})
			return
		}
	}
	if bt.items >= maxBatchItems || bt.wrong.code != None {
		return
	}

	var rd read
	good := false // read says what it should
	if v := got[itemRead]; v != nil {
		text, _ := r.str(v)
		rd.stats = string(text) == "stats"
		good = rd.stats || string(text) == "balance"
	}
	balance := good && !rd.stats
	if strange || balance && (got[itemWindow] != nil || got[itemKind] != nil) {
		for i := range r.members {
			switch name := r.members[i].name; itemField(name) {
			case itemUser, itemRead, itemAt, itemCurrency:
				continue
			case itemWindow, itemKind:
				if !balance {
					continue
				}
				fallthrough
			default:
				bt.fail(fault{UnknownField, echo(name)})
				return
			}
		}
	}
	if f := r.judge(&got, good, &rd); f.code != None {
		bt.fail(f)
		return
	}
	bt.reads = append(bt.reads, rd)
}

// judge validates an item's members in order and fills rd.
func (r *reader) judge(got *[itemFields]*value, goodRead bool, rd *read) fault {
	// A string's text, or the reason why it is invalid.
	text := func(n int) ([]byte, fault) {
		if got[n] == nil {
			return nil, fault{MissingField, itemNames[n]}
		}
		s, ok := r.str(got[n])
		if !ok {
			return nil, fault{InvalidField, itemNames[n]}
		}
		return s, fault{}
	}

	s, f := text(itemUser)
	if f.code != None {
		return f
	}
	var ok bool
	if rd.user, ok = parseUser(borrowed(s)); !ok {
		return fault{InvalidField, itemNames[itemUser]}
	}
	if _, f = text(itemRead); f.code != None {
		return f
	}
	if !goodRead {
		return fault{InvalidField, itemNames[itemRead]}
	}
	if rd.stats {
		if s, f = text(itemWindow); f.code != None {
			return f
		}
		if rd.windowMs, ok = parseWindow(s); !ok {
			return fault{InvalidWindow, itemNames[itemWindow]}
		}
	}
	if v := got[itemAt]; v != nil {
		if v.kind == numberValue {
			rd.atMs, rd.hasAt = parseTime(v.text)
		}
		if !rd.hasAt || rd.stats && rd.windowMs == 0 {
			return fault{InvalidField, itemNames[itemAt]}
		}
	}
	if got[itemCurrency] != nil {
		if s, f = text(itemCurrency); f.code != None {
			return f
		}
		if !isCurrency(s) {
			return fault{InvalidField, itemNames[itemCurrency]}
		}
		rd.currency = borrowed(s)
	}
	if got[itemKind] != nil {
		if s, f = text(itemKind); f.code != None {
			return f
		}
		if !isKind(s) {
			return fault{InvalidField, itemNames[itemKind]}
		}
		rd.kind = borrowed(s)
	}
	return fault{}
}

// batch answers POST /v1/batch.
func (s *Service) batch(req *Request, res *Response) {
	w := &res.work
	w.reader.unmarshal = s.unmarshal
	if f := w.reader.readBatch(req.Body, &w.batch); f.code != None {
		res.refuse(f)
		return
	}
	reads := w.batch.reads
	w.chains.link(reads)
	now := s.now()
	parts := w.parts[:0]
	for i := range reads {
		if !reads[i].more {
			parts = s.answerChain(reads, i, now, w, parts)
		}
	}
	w.parts = parts

	res.Status = 200
	res.ContentType = jsonType
	b := append(res.Body[:0], `{"responses":[`...)
	for i := range reads {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, parts[reads[i].part.from:reads[i].part.to]...)
	}
	res.Body = append(b, "]}"...)
}

// answerChain appends the answers to all items of one user, the first of which
// is reads[i]. All see the same state.
func (s *Service) answerChain(reads []read, i int, now int64, w *work, b []byte) []byte {
	view, known := s.ledger.View(reads[i].user)
	if known {
		defer view.Close()
	}
	for {
		rd := &reads[i]
		rd.part.from = len(b)
		switch {
		case !known:
			b = appendProblem(b, fault{code: UserNotFound})
			b = append(b, `,"user_id":"`...)
			b = appendUser(b, rd.user)
			b = append(b, `"}`...)
		case rd.stats:
			q := s.ledgerQuestion(&rd.question, now)
			view.Stats(&q, &w.stats)
			b = appendStats(b, rd.user, &w.stats)
		case rd.hasAt:
			view.PastBalances(rd.atMs, &w.past)
			b = appendPastBalances(b, rd.user, &w.past, rd.currency)
		default:
			view.Balances(&w.balances)
			b = appendBalances(b, rd.user, &w.balances, rd.currency)
		}
		rd.part.to = len(b)
		if i = rd.next; i == 0 {
			return b
		}
	}
}

// chains groups the items of a batch by user.
type chains struct {
	slots [2 * 1024]int16 // item + 1 by hash of its user
}

// link sets next and more of the reads.
func (c *chains) link(reads []read) {
	// A small batch needs few slots.
	bits := 4
	for 1<<bits < 2*len(reads) {
		bits++
	}
	slots := c.slots[:1<<bits]
	clear(slots)
	for i := len(reads) - 1; i >= 0; i-- {
		user := reads[i].user
		at := user.Hash() >> (64 - bits)
		for slots[at] != 0 && reads[slots[at]-1].user != user {
			at = (at + 1) & uint64(len(slots)-1)
		}
		if later := slots[at]; later != 0 {
			reads[i].next = int(later - 1)
			reads[later-1].more = true
		}
		slots[at] = int16(i + 1)
	}
}
