package api

import (
	"reflect"
	"strconv"
	"strings"
	"testing"

	"purser/peers/ledger"
)

func TestBatchFailures(t *testing.T) {
	item := func(s string) string {
		return `{"requests":[{"user_id":"1","read":"balance"},` + s + `]}`
	}
	items := func(n int, s string) string {
		return `{"requests":[` + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + `]}`
	}
	const good = `{"user_id":"1","read":"balance"}`
	cases := []struct {
		body  string
		code  Code
		field string
	}{
		{``, JSONEndsEarly, ""},
		{`[]`, JSONNotObject, ""},
		{`null`, JSONNotObject, ""},
		{`{"requests":[]`, JSONEndsEarly, ""},
		{`{"requests":[}`, JSONSyntax, ""},
		{`{"requests":[` + good + `,]}`, JSONSyntax, ""},
		{`{"requests":[]} x`, JSONTrailingText, ""},
		{`{"requests":[],}`, JSONSyntax, ""},
		{`{"requests":[{"user_id":01}]}`, JSONNumber, ""},
		{`{"requests":[5,{"user_id":"\ud800"}]}`, JSONLoneSurrogate, ""},
		{`{"requests":[5],"requests":[5]`, JSONEndsEarly, ""},
		{"\uFEFF" + `{"requests":[]}`, JSONBOM, ""},
		{"{\"requests\":[01,\"\xff\"]}", JSONNotUTF8, ""},
		{`{"requests":[{"a":1,"a":1}],"x":tru}`, JSONSyntax, ""},
		{`{"requests":[{"a":"\x"},01]}`, JSONEscape, ""},
		{items(1001, "{\"a\":\"\t\"}"), JSONControlCharacter, ""},
		{`{"requests":` + nested(127) + `}`, InvalidField, "requests[0]"},
		{`{"requests":` + nested(128) + `}`, JSONTooDeep, ""},
		{item(`{"x":` + nested(125) + `}`), UnknownField, "requests[1].x"},
		{item(`{"x":` + nested(126) + `}`), JSONTooDeep, ""},

		// The number of items.
		{items(1001, good), TooManyItems, "requests"},
		{items(1001, `5`), TooManyItems, "requests"},
		{`{"x":1,` + items(1001, good)[1:], TooManyItems, "requests"},
		{items(1001, `{"read":1,"read":1}`), TooManyItems, "requests"},

		// Then repeated members, top level first.
		{`{"requests":[],"requests":[]}`, JSONRepeated, "requests"},
		{`{"requests":5,"\u0072equests":[]}`, JSONRepeated, "requests"},
		{`{"x":1,"x":1,"requests":[{"a":1,"a":1}]}`, JSONRepeated, "x"},
		{`{"requests":[{"a":1,"a":1}],"x":1,"x":1}`, JSONRepeated, "x"},
		{`{"é":1,"é":1}`, JSONRepeated, ""},
		{`{"x":1,"requests":[5,{"read":"balance","read":"stats"}]}`, JSONRepeated, "requests[1].read"},
		{`{"requests":[{"b":1,"c":1,"c":1,"b":1},{"read":1,"read":1}]}`, JSONRepeated, "requests[0].c"},
		{`{"requests":[{"é":1,"é":1}]}`, JSONRepeated, "requests[0]"},

		// Then unknown members and the list itself.
		{`{"x":1}`, UnknownField, "x"},
		{`{"requests":5,"x":1,"y":2}`, UnknownField, "x"},
		{`{"requests":[5],"x":1}`, UnknownField, "x"},
		{`{"Requests":[]}`, UnknownField, "Requests"},
		{`{"a\"b":[]}`, UnknownField, ""},
		{`{}`, MissingField, "requests"},
		{`{"requests":null}`, InvalidField, "requests"},
		{`{"requests":{}}`, InvalidField, "requests"},

		// Items.
		{item(`5`), InvalidField, "requests[1]"},
		{item(`[]`), InvalidField, "requests[1]"},
		{item(`null`), InvalidField, "requests[1]"},
		{item(`{}`), MissingField, "requests[1].user_id"},
		{item(`{"x":1,"y":1}`), UnknownField, "requests[1].x"},
		{item(`{"a\\b":1}`), UnknownField, "requests[1]"},
		{item(`{"User_id":"1"}`), UnknownField, "requests[1].User_id"},
		{item(`{"user_id":1,"read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":null,"read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":{},"read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":"","read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":".","read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":"\u002e.","read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":"a*","read":5}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":"a%62","read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":"a/b","read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":"\u00e9","read":"balance"}`), InvalidField, "requests[1].user_id"},
		{item(`{"user_id":"` + strings.Repeat("x", 65) + `","read":"balance"}`), InvalidField,
			"requests[1].user_id"},
		{item(`{"user_id":"1"}`), MissingField, "requests[1].read"},
		{item(`{"user_id":"1","window":5}`), MissingField, "requests[1].read"},
		{item(`{"user_id":"1","read":"Balance","window":5}`), InvalidField, "requests[1].read"},
		{item(`{"user_id":"1","read":null}`), InvalidField, "requests[1].read"},
		{item(`{"user_id":"1","read":"nope","x":5}`), UnknownField, "requests[1].x"},
		{item(`{"user_id":"1","read":"balance","window":"1h"}`), UnknownField, "requests[1].window"},
		{item(`{"kind":"a","at_ms":5,"user_id":"*","read":"balance"}`), UnknownField,
			"requests[1].kind"},
		{item(`{"at_ms":5,"x":1,"user_id":"1","read":"balance"}`), UnknownField, "requests[1].x"},
		{item(`{"x":1,"at_ms":5,"user_id":"1","read":"balance"}`), UnknownField, "requests[1].x"},
		{item(`{"user_id":"1","read":"balance","currency":"coin"}`), InvalidField,
			"requests[1].currency"},
		{item(`{"user_id":"1","read":"balance","currency":null}`), InvalidField, "requests[1].currency"},
		{item(`{"user_id":"1","read":"stats"}`), MissingField, "requests[1].window"},
		{item(`{"user_id":"1","read":"stats","window":24}`), InvalidField, "requests[1].window"},
		{item(`{"user_id":"1","read":"stats","window":"1x"}`), InvalidWindow, "requests[1].window"},
		{item(`{"user_id":"1","read":"stats","window":""}`), InvalidWindow, "requests[1].window"},
		{item(`{"user_id":"1","read":"stats","window":"1h","at_ms":"5"}`), InvalidField,
			"requests[1].at_ms"},
		{item(`{"user_id":"1","read":"stats","window":"1h","at_ms":-0}`), InvalidField,
			"requests[1].at_ms"},
		{item(`{"user_id":"1","read":"stats","window":"1h","at_ms":5.0}`), InvalidField,
			"requests[1].at_ms"},
		{item(`{"user_id":"1","read":"stats","window":"lifetime","at_ms":5,"currency":"x"}`),
			InvalidField, "requests[1].at_ms"},
		{item(`{"user_id":"1","read":"stats","window":"1h","currency":"x","kind":"_x"}`), InvalidField,
			"requests[1].currency"},
		{item(`{"user_id":"1","read":"stats","window":"1h","kind":"_x"}`), InvalidField,
			"requests[1].kind"},
		{item(`{"user_id":"1"},{"x":1}`), MissingField, "requests[1].read"},
		{item(`{"user_id":"1"},{"x":1,"x":1}`), JSONRepeated, "requests[2].x"},
	}
	for name, unmarshal := range libraries {
		r := reader{unmarshal: unmarshal}
		var bt batch
		for _, c := range cases {
			if f := r.readBatch([]byte(c.body), &bt); f != (fault{c.code, c.field}) {
				t.Errorf("%s: %.200q: got %s %q, want %s %q", name, c.body,
					meanings[f.code].name, f.field, meanings[c.code].name, c.field)
			}
		}
	}
}

func TestBatchReads(t *testing.T) {
	const body = ` { "requests" : [ {"read":"balance","user_id":"18446744073709551615"},
		{"user_id":"7","read":"st\u0061ts","window":"7d","at_ms":5,"currency":"C\u004fIN","kind":"gift"},
		{"user_id":"7","read":"stats","window":"lifetime"},
		{"user_id":"7","read":"balance","currency":"USD"},
		{"user_id":"007","read":"balance"},
		{"user_id":"users\u003a7","read":"balance"} ] } `
	seven := ledger.UserID{Number: 7}
	want := []read{
		{user: ledger.UserID{Number: 1<<64 - 1}},
		{user: seven, stats: true, question: question{windowMs: 7 * 86400000, hasAt: true, atMs: 5,
			currency: "COIN", kind: "gift"}},
		{user: seven, stats: true},
		{user: seven, question: question{currency: "USD"}},
		{user: ledger.UserID{Text: "007"}},
		{user: ledger.UserID{Text: "users:7"}},
	}
	for name, unmarshal := range libraries {
		r := reader{unmarshal: unmarshal}
		bt := batch{reads: make([]read, 3)}
		if f := r.readBatch([]byte(body), &bt); f.code != None {
			t.Fatalf("%s: %s %s", name, meanings[f.code].name, f.field)
		}
		if !reflect.DeepEqual(bt.reads, want) {
			t.Errorf("%s: got %+v, want %+v", name, bt.reads, want)
		}
	}
}

func TestChains(t *testing.T) {
	for _, users := range [][]uint64{
		{}, {5}, {5, 5}, {1, 2, 1, 3, 2, 1, 0, 0},
		func() (u []uint64) { // as full as a batch gets, with repeats
			for i := range maxBatchItems {
				u = append(u, uint64(i*i)%700)
			}
			return u
		}(),
	} {
		reads := make([]read, len(users))
		for i, u := range users {
			reads[i].user = ledger.UserID{Number: u}
			if u%3 == 0 {
				reads[i].user = ledger.UserID{Text: "0" + strconv.FormatUint(u, 10)}
			}
		}
		new(chains).link(reads)
		seen := make([]int, len(users))
		firsts := make(map[uint64]bool)
		for i := range reads {
			if reads[i].more {
				continue
			}
			if firsts[users[i]] {
				t.Fatalf("two chains for user %d", users[i])
			}
			firsts[users[i]] = true
			for j := i; ; j = reads[j].next {
				seen[j]++
				if users[j] != users[i] {
					t.Fatalf("item %d is in the chain of user %d", j, users[i])
				}
				if reads[j].next == 0 {
					break
				}
			}
		}
		for i, n := range seen {
			if n != 1 {
				t.Fatalf("item %d is in %d chains", i, n)
			}
		}
	}
}
