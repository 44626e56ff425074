package api

import "strconv"

// problemHeads and rejectedHeads are the bytes before a fault's field in a
// problem body and in a feed's result.
var problemHeads, rejectedHeads = heads()

func heads() (problems, rejected [codeCount][]byte) {
	for c := range meanings {
		m := &meanings[c]
		if c == int(None) {
			continue
		}
		b := append([]byte(nil), `{"type":"about:blank","title":"`...)
		b = append(b, m.title...)
		b = append(b, `","status":`...)
		b = strconv.AppendInt(b, int64(m.status), 10)
		b = append(b, `,"code":"`...)
		b = append(b, m.name...)
		b = append(b, `","detail":"`...)
		b = append(b, m.detail...)
		problems[c] = append(b, `","field":"`...)

		r := append([]byte(nil), `","status":"rejected","code":"`...)
		r = append(r, m.name...)
		rejected[c] = append(r, `","field":"`...)
	}
	return problems, rejected
}

// appendProblem appends a problem body without its closing brace. Fields
// need no JSON escaping.
func appendProblem(b []byte, f fault) []byte {
	b = append(b, problemHeads[f.code]...)
	b = append(b, f.field...)
	return append(b, '"')
}

// refuse makes the answer a problem.
func (res *Response) refuse(f fault) {
	res.Status = meanings[f.code].status
	res.ContentType = problemType
	res.Body = append(appendProblem(res.Body[:0], f), '}')
}

// Refuse makes the answer a problem with a code of the HTTP layer and no field.
func (res *Response) Refuse(c Code) {
	res.reset()
	res.refuse(fault{code: c})
}
