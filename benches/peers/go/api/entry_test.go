package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bytedance/sonic"

	"purser/peers/ledger"
)

// libraries are the JSON libraries that the servers use.
var libraries = map[string]Unmarshal{"encoding/json": json.Unmarshal, "sonic": sonic.Unmarshal}

const goodEntry = `"entry_id":"7","user_id":"42","currency":"COIN","kind":"gift_sent",` +
	`"direction":"debit","amount":500,"at_ms":1763900000000`

// without returns an entry that lacks a member, and has more instead.
func without(name, more string) string {
	var members []string
	for m := range strings.SplitSeq(goodEntry, ",") {
		if !strings.HasPrefix(m, `"`+name+`"`) {
			members = append(members, m)
		}
	}
	if more != "" {
		members = append(members, more)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func with(more string) string { return "{" + goodEntry + "," + more + "}" }

func TestEntryFailures(t *testing.T) {
	const settle = `"entry_id":"8","user_id":"42","at_ms":5,"pending_id":"7"`
	type failure struct {
		line  string
		code  Code
		field string
		id    string
	}
	cases := []failure{
		// Not JSON, or not an object.
		{``, JSONEndsEarly, "", ""},
		{` `, JSONEndsEarly, "", ""},
		{`[]`, JSONNotObject, "", ""},
		{`null`, JSONNotObject, "", ""},
		{`"{}"`, JSONNotObject, "", ""},
		{`5`, JSONNotObject, "", ""},
		{`{"entry_id":"7"`, JSONEndsEarly, "", ""},
		{`{"entry_id":"7"} {}`, JSONTrailingText, "", ""},
		{"\uFEFF{" + goodEntry + "}", JSONBOM, "", ""},
		{with(`"x":01`), JSONNumber, "", ""},
		{without("amount", `"amount":007`), JSONNumber, "", ""},
		{without("kind", `"kind":"\ud800"`), JSONLoneSurrogate, "", ""},
		{without("kind", "\"kind\":\"\xff\""), JSONNotUTF8, "", ""},
		{with(`"x":` + nested(128)), JSONTooDeep, "", ""},

		{with(`"metadata":` + nested(128)), JSONTooDeep, "", ""},
		{with(`"metadata":[01]`), JSONNumber, "", ""},
		{with(`"metadata":{"a":"\ud800"}`), JSONLoneSurrogate, "", ""},
		{with("\"metadata\":\"\t\""), JSONControlCharacter, "", ""},
		{with(`"metadata":[1,]`), JSONSyntax, "", ""},

		// Repeated members come before unknown ones.
		{with(`"metadata":1,"x":1,"m\u0065tadata":1`), JSONRepeated, "metadata", ""},
		{with(`"amount":500`), JSONRepeated, "amount", ""},
		{with(`"\u0061mount":500`), JSONRepeated, "amount", ""},
		{with(`"x":1,"x":2`), JSONRepeated, "x", ""},
		{with(`"x":1,"y":1,"y":1,"x":2,"kind":"a"`), JSONRepeated, "y", ""},
		{with(`"é":1,"\u00e9":2`), JSONRepeated, "", ""},
		{with(`"":1,"":2`), JSONRepeated, "", ""},
		{with(`"state":"posted","zzz":1,"state":"posted"`), JSONRepeated, "state", ""},

		// Unknown members come before fields.
		{with(`"x":{"a":1,"a":2}`), UnknownField, "x", "7"},
		{with(`"x":1,"y":1`), UnknownField, "x", "7"},
		{with(`"Amount":1`), UnknownField, "Amount", "7"},
		{with(`"Metadata":1`), UnknownField, "Metadata", "7"},
		{with(`"entry_id ":1`), UnknownField, "entry_id ", "7"},
		{with(`"\u0078y":1`), UnknownField, "xy", "7"},
		{with(`"a\"b":1`), UnknownField, "", "7"},
		{with(`"a\\b":1`), UnknownField, "", "7"},
		{with(`"a\u007f":1`), UnknownField, "", "7"},
		{with(`"":1`), UnknownField, "", "7"},
		{with(`"` + strings.Repeat("n", 64) + `":1`), UnknownField, strings.Repeat("n", 64), "7"},
		{with(`"` + strings.Repeat("n", 65) + `":1`), UnknownField, "", "7"},
		{`{"x":1,"entry_id":"0 7"}`, UnknownField, "x", ""},

		// Fields, in their order.
		{`{}`, MissingField, "entry_id", ""},
		{without("entry_id", ``), MissingField, "entry_id", ""},
		{without("entry_id", `"entry_id":7`), InvalidField, "entry_id", ""},
		{without("entry_id", `"entry_id":null`), InvalidField, "entry_id", ""},
		{without("entry_id", `"entry_id":""`), InvalidField, "entry_id", ""},
		{without("entry_id", `"entry_id":"0 7"`), InvalidField, "entry_id", ""},
		{`{"entry_id":"7"}`, MissingField, "user_id", "7"},
		{without("user_id", ``), MissingField, "user_id", "7"},
		{without("user_id", `"user_id":42`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":null`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":["42"]`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":""`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":"."`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":".."`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":"\u002e\u002e"`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":"a\/b"`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":"%61b"`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":"a b"`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":"é"`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":"a\u0000"`), InvalidField, "user_id", "7"},
		{without("user_id", `"user_id":"`+strings.Repeat("x", 65)+`"`), InvalidField, "user_id", "7"},
		{without("currency", ``), MissingField, "currency", "7"},
		{without("currency", `"currency":"coin"`), InvalidField, "currency", "7"},
		{without("currency", `"currency":["COIN"]`), InvalidField, "currency", "7"},
		{without("kind", ``), MissingField, "kind", "7"},
		{without("kind", `"kind":"_gift"`), InvalidField, "kind", "7"},
		{without("kind", `"kind":true`), InvalidField, "kind", "7"},
		{without("direction", ``), MissingField, "direction", "7"},
		{without("direction", `"direction":"Debit"`), InvalidField, "direction", "7"},
		{without("direction", `"direction":0`), InvalidField, "direction", "7"},
		{without("amount", ``), MissingField, "amount", "7"},
		{without("amount", `"amount":"500"`), InvalidField, "amount", "7"},
		{without("amount", `"amount":null`), InvalidField, "amount", "7"},
		{without("amount", `"amount":-1`), AmountNegative, "amount", "7"},
		{without("amount", `"amount":-99999999999999999999999999999`), AmountNegative, "amount", "7"},
		{without("amount", `"amount":-0`), InvalidField, "amount", "7"},
		{without("amount", `"amount":-0.5`), InvalidField, "amount", "7"},
		{without("amount", `"amount":-1.0`), InvalidField, "amount", "7"},
		{without("amount", `"amount":-1e3`), InvalidField, "amount", "7"},
		{without("amount", `"amount":1.0`), InvalidField, "amount", "7"},
		{without("amount", `"amount":1e3`), InvalidField, "amount", "7"},
		{without("amount", `"amount":1E3`), InvalidField, "amount", "7"},
		{without("amount", `"amount":9223372036854775808`), InvalidField, "amount", "7"},
		{without("amount", `"amount":99999999999999999999999999`), InvalidField, "amount", "7"},
		{without("at_ms", ``), MissingField, "at_ms", "7"},
		{without("at_ms", `"at_ms":-1`), InvalidField, "at_ms", "7"},
		{without("at_ms", `"at_ms":-0`), InvalidField, "at_ms", "7"},
		{without("at_ms", `"at_ms":1.0`), InvalidField, "at_ms", "7"},
		{without("at_ms", `"at_ms":"1"`), InvalidField, "at_ms", "7"},
		{without("at_ms", `"at_ms":253402300800000`), InvalidField, "at_ms", "7"},
		{with(`"state":"Posted"`), InvalidField, "state", "7"},
		{with(`"state":null`), InvalidField, "state", "7"},
		{with(`"state":""`), InvalidField, "state", "7"},
		{with(`"state":"voided"`), MissingField, "pending_id", "7"},
		{without("amount", `"state":"voided"`), MissingField, "pending_id", "7"},
		{without("kind", `"state":"voided"`), MissingField, "kind", "7"},
		{`{"entry_id":"7","user_id":"42","at_ms":5,"state":"voided"}`, MissingField, "pending_id", "7"},
		{`{"entry_id":"7","at_ms":5,"state":"voided"}`, MissingField, "user_id", "7"},
		{`{"entry_id":"7","user_id":"42","state":"voided"}`, MissingField, "at_ms", "7"},
		{without("kind", `"kind":5,"state":"voided"`), InvalidField, "kind", "7"},
		{without("direction", `"direction":"up","state":"voided"`), InvalidField, "direction", "7"},
		{without("amount", `"amount":1.0,"state":"voided"`), InvalidField, "amount", "7"},
		{without("amount", `"amount":-1,"state":"voided"`), AmountNegative, "amount", "7"},
		{without("kind", `"state":"Voided"`), MissingField, "kind", "7"},

		// Entries on holds.
		{with(`"pending_id":5`), InvalidField, "pending_id", "7"},
		{with(`"pending_id":null`), InvalidField, "pending_id", "7"},
		{without("currency", `"pending_id":"1"`), MissingField, "currency", "7"},
		{without("kind", `"pending_id":"1"`), MissingField, "kind", "7"},
		{without("direction", `"pending_id":"1"`), MissingField, "direction", "7"},
		{`{` + settle + `,"amount":1,"direction":"debit"}`, MissingField, "currency", "8"},
		{`{` + settle + `}`, MissingField, "amount", "8"},
		{`{` + settle + `,"state":"posted"}`, MissingField, "amount", "8"},
		{`{` + settle + `,"state":"pending"}`, MissingField, "amount", "8"},
		{`{` + settle + `,"state":"nope"}`, MissingField, "amount", "8"},
		{`{` + settle + `,"state":"voided","amount":-5}`, AmountNegative, "amount", "8"},
		{`{` + settle + `,"state":5,"amount":1}`, InvalidField, "state", "8"},
		{`{"entry_id":"8","user_id":"42","at_ms":5,"amount":1,"pending_id":5}`, InvalidField,
			"pending_id", "8"},
		{`{"entry_id":"8","user_id":"42","at_ms":5,"amount":1,"pending_id":"0 5"}`, InvalidField,
			"pending_id", "8"},
		{`{"entry_id":"8","user_id":"42","at_ms":5,"state":"voided","pending_id":null}`, InvalidField,
			"pending_id", "8"},
		{with(`"final":true`), InvalidField, "final", "7"},
		{with(`"pending_id":"1","state":"pending","final":true`), InvalidField, "final", "7"},
		{`{` + settle + `,"state":"voided","final":true}`, InvalidField, "final", "8"},
		{`{` + settle + `,"amount":1,"final":null}`, InvalidField, "final", "8"},
		{`{` + settle + `,"amount":1,"final":1}`, InvalidField, "final", "8"},
		{`{` + settle + `,"amount":1,"final":"true"}`, InvalidField, "final", "8"},

		// The id is echoed as it was sent, decoded.
		{`{"entry_id":"\u0037"}`, MissingField, "user_id", "7"},
		{`{"entry_id":"0192F0C1-7d3a-7cc1-9a55-0242AC120002"}`, MissingField, "user_id",
			"0192F0C1-7d3a-7cc1-9a55-0242AC120002"},
	}
	for name, unmarshal := range libraries {
		r := reader{unmarshal: unmarshal}
		for _, c := range cases {
			var e ledger.Entry
			id, f := r.entry([]byte(c.line), &e)
			if f != (fault{c.code, c.field}) || string(id) != c.id {
				t.Errorf("%s: %.200q: got %s %q of %q, want %s %q of %q", name, c.line,
					meanings[f.code].name, f.field, id, meanings[c.code].name, c.field, c.id)
			}
		}
	}
}

func TestEntryValues(t *testing.T) {
	post := ledger.Entry{ID: ledger.ID{Lo: 7}, User: ledger.UserID{Number: 42}, HasTerms: true,
		Currency: "COIN", Kind: "gift_sent", Direction: ledger.Debit, HasAmount: true, Amount: 500,
		AtMs: 1763900000000, Action: ledger.Post}
	hold, large, last := post, post, post
	text, zero, long := post, post, post
	text.User, zero.User = ledger.UserID{Text: "users:4~2@a.b_c-D"}, ledger.UserID{Text: "042"}
	long.User = ledger.UserID{Text: strings.Repeat("x", 64)}
	hold.Action = ledger.Hold
	large.Amount = 1<<63 - 1
	last.AtMs = maxTime
	settle := ledger.Entry{ID: ledger.ID{Lo: 8}, User: ledger.UserID{Number: 42}, HasAmount: true,
		Amount: 0, AtMs: 5, Action: ledger.Settle, Hold: ledger.ID{Lo: 7}, Final: true}
	partly, grow, void, voidPart, own := settle, settle, settle, settle, post
	partly.Final = false
	grow.Action, grow.Final = ledger.Grow, false
	voidPart.Action, voidPart.Final = ledger.Void, false
	void.Action, void.Final, void.HasAmount = ledger.Void, false, false
	own.Action, own.Hold, own.Final = ledger.Settle, ledger.ID{Lo: 1}, true
	for name, unmarshal := range libraries {
		r := reader{unmarshal: unmarshal}
		for _, c := range []struct {
			line string
			want ledger.Entry
		}{
			{"{" + goodEntry + "}", post},
			{" \t{ " + strings.ReplaceAll(goodEntry, ",", " , ") + " } \r", post},
			{with(`"state":"posted"`), post},
			{without("user_id", `"\u0075ser_id":"\u0034\u0032"`), post},
			{without("user_id", `"user_id":"users:4~2@a.b_c-D"`), text},
			{without("user_id", `"user_id":"\u0075sers:4~2\u0040a.b_c-D"`), text},
			{without("user_id", `"user_id":"042"`), zero},
			{without("user_id", `"user_id":"`+strings.Repeat("x", 64)+`"`), long},
			{without("currency", `"currency":"\u0043OIN"`), post},
			{with(`"metadata":null`), post},
			{with(`"m\u0065tadata":{"amount":-5,"a":[1e400,-0,true],"a":"\ud83d\ude00"}`), post},
			{with(`"metadata":` + nested(127)), post},
			{`{"metadata":"` + strings.Repeat("x", maxLineBytes-len(goodEntry)-16) + `",` + goodEntry + "}",
				post},
			{with(`"state":"pending"`), hold},
			{without("amount", `"amount":9223372036854775807`), large},
			{without("at_ms", `"at_ms":253402300799999`), last},
			{`{"entry_id":"8","user_id":"42","at_ms":5,"pending_id":"7","amount":0}`, settle},
			{`{"entry_id":"8","user_id":"42","at_ms":5,"pending_id":"7","amount":0,"state":"posted"}`,
				settle},
			{`{"entry_id":"8","user_id":"42","at_ms":5,"pending_id":"7","amount":0,"final":true}`, settle},
			{`{"entry_id":"8","user_id":"42","at_ms":5,"pending_id":"7","amount":0,"final":false}`, partly},
			{`{"entry_id":"8","user_id":"42","at_ms":5,"pending_id":"7","amount":0,"state":"pending"}`,
				grow},
			{`{"pending_id":"7","entry_id":"8","user_id":"42","at_ms":5,"state":"voided"}`, void},
			{`{"pending_id":"7","entry_id":"8","user_id":"42","at_ms":5,"state":"voided","amount":0}`,
				voidPart},
			{with(`"pending_id":"1"`), own},
		} {
			// Values of an earlier line must not leak into this one.
			e := ledger.Entry{ID: ledger.ID{Hi: 9},
				User: ledger.UserID{Number: 9, Text: "old"}, HasTerms: true, Currency: "OLD", Kind: "old",
				Direction: ledger.Debit, HasAmount: true, Amount: 9, Action: ledger.Void,
				Hold: ledger.ID{Hi: 9}, Final: true}
			_, f := r.entry([]byte(c.line), &e)
			if f.code != None || e != c.want {
				t.Errorf("%s: %q: got %+v (%s %s), want %+v", name, c.line, e, meanings[f.code].name, f.field,
					c.want)
			}
		}
	}
}
