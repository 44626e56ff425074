package api

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"purser/peers/ledger"
)

// isJSON reports whether text is one JSON value.
func isJSON(text string) bool {
	b := []byte(text)
	_, i := scanValue(b, skipSpace(b, 0), 0)
	return i >= 0 && skipSpace(b, i) == len(b)
}

func nested(n int) string {
	return strings.Repeat("[", n) + strings.Repeat("]", n)
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{`{}`, true},
		{` { "a" : [ 1 , -0 , 1.5e+3 , true , false , null , { } , [ ] ] } ` + "\t\r\n", true},
		{`0`, true}, {`-0`, true}, {`10`, true}, {`1e5`, true}, {`1E-5`, true}, {`0.0`, true},
		{`01`, false}, {`-01`, false}, {`-`, false}, {`+1`, false}, {`.5`, false}, {`1.`, false},
		{`1.e5`, false},
		{`1e`, false}, {`1e+`, false}, {`0x1`, false}, {`NaN`, false}, {`Infinity`, false},
		{`1 2`, false},
		{`"" `, true}, {`"`, false}, {`"a`, false}, {`"12345678`, false}, {`"1234567\`, false},
		{`"12345678"`, true},
		{`"\"\\\/\b\f\n\r\t\u0000\uFFFF\uabCD"`, true}, {`"\x"`, false}, {`"\u12"`, false},
		{`"\u12g4"`, false}, {`"\U0041"`, false},
		{`"\ud83d\ude00"`, true}, {`"\ud83d"`, false}, {`"\ud83dx"`, false}, {`"\ud83d\n"`, false},
		{`"\ude00"`, false},
		{`"\ud83d\ud83d"`, false}, {`"\ud83d\u0041"`, false}, {`"\ude00\ud83d"`, false},
		{`"\uDBFF\uDFFF"`, true},
		{"\"\x1f\"", false}, {"\"\x7f\"", true}, {"\"aaaaaaa\x00\"", false}, {"\"a\nb\"", false},
		{"\"\t\"", false},
		{"\"é€😀\"", true}, {"\"\xff\"", false}, {"\"\xc0\xaf\"", false}, {"\"\xed\xa0\x80\"", false},
		{"\"\xe2\x82\"", false},
		{"\"\xf4\x90\x80\x80\"", false}, {"\"\uFFFD\"", true},
		{"\uFEFF{}", false}, {"\v{}", false}, {"\u00a0{}", false},
		{`{`, false}, {`{"a"`, false}, {`{"a":`, false}, {`{"a":1`, false}, {`{"a":1,`, false},
		{`{"a":1,}`, false}, {`{,}`, false},
		{`{"a" 1}`, false}, {`{a:1}`, false}, {`{1:1}`, false}, {`{"a":1]`, false}, {`{"a":1}}`, false},
		{`{"a":1 "b":2}`, false},
		{`[`, false}, {`[1`, false}, {`[1,`, false}, {`[1,]`, false}, {`[,1]`, false}, {`[1}`, false},
		{`[1 2]`, false},
		{`tru`, false}, {`True`, false}, {`nul`, false}, {`nullx`, false}, {`falsey`, false}, {``, false},
		{` `, false},
		{`{}//`, false}, {`{}/**/`, false}, {`'a'`, false},
		{nested(128), true}, {nested(129), false}, {`{"a":` + nested(127) + `}`, true},
		{`{"a":` + nested(128) + `}`, false},
	} {
		if got := isJSON(c.text); got != c.want {
			t.Errorf("isJSON(%.60q) = %v", c.text, got)
		}
	}
}

// TestFaults checks the reason why a line is no JSON object.
func TestFaults(t *testing.T) {
	deep := func(open string, n int) string { return `{"c":` + strings.Repeat(open, n) }
	for code, texts := range map[Code][]string{
		JSONBOM: {"\uFEFF", "\uFEFF{}", "\uFEFF\xff"},
		JSONNotUTF8: {"\xff\xfe{\x00}\x00", "[01,\"\xc0\xaf\"",
			"{\"a\":1,\"a\":\"\xed\xa0\x80\"}", "{} \x80", "{\"\xe2\x82", " \xff\xef\xbb\xbf{}"},
		JSONEndsEarly: {``, ` `, `{`, `{"`, `{"a`, `{"a"`, `{"a" :`, `{"a":1`, `{"a":1,`, `{"a":"`,
			`{"a":"\`, `{"a":"\u`, `{"a":"\u12`, `{"a":"\ud83d`, `{"a":"\ud83d\`, `{"a":"\ud83d\u`,
			`{"a":"\ud83d\ude0`, `{"a":t`, `{"a":fals`, `{"a":nul`, `{"a":true`, `{"a":-`, `{"a":1.`,
			`{"a":1e`, `{"a":1e+`, `{"a":0`, `{"a":[`, `{"a":[1`, `{"a":[1,`, `{"a":{"b"`,
			deep("[", 127), deep(`{"a":`, 127)},
		JSONNotObject: {`[]`, `5`, `-`, `"{}"`, `true`, `nul`, `x`, `}`, `,`, `'`, "\x00", `<a>`, `é`,
			`//{}`, `[01`, `NaN`, " \uFEFF{}"},
		JSONNumber: {`{"a":01}`, `{"a":00`, `{"a":-01}`, `{"a":1.}`, `{"a":1.e5}`, `{"a":1e}`,
			`{"a":1e+}`, `{"a":-}`, `{"a":- 1}`, `{"a":-x}`, `{"a":0x10}`, `{"a":1_000}`,
			`{"a":1.2.3}`, `{"a":1e5e}`, `{"a":1-`, `{"a":1+1}`, `{"a":5n}`, `{"c":[01]}`,
			`{"c":[{"d":1.}]}`, `{"c":[1a`, `{"b":1.,`, `{"a":-""}`},
		JSONControlCharacter: {"{\"\t\":1}", "{\"a\":\"\n\"}", "{\"a\":\"12345678\x00",
			"{\"c\":[\"\x1f", "{\"c\":{\"\r\""},
		JSONEscape: {`{"a":"\x"}`, `{"a":"\'"}`, `{"a":"\U0041"}`, `{"a":"\u12"}`, `{"a":"\u+123"}`,
			`{"a":"\u00g`, `{"\ "`, `{"a":"\é"}`, `{"a":"\ud83d\u12"`, `{"c":["\0"]}`,
			"{\"a\":\"\\\n\"}"},
		JSONLoneSurrogate: {`{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800x`, `{"a":"\ud800\n`,
			`{"a":"\ud800\x`, `{"a":"\ud800\u0041`, `{"a":"\ud800\ud800"}`,
			`{"a":"\ude00\ud83d"}`, `{"\uDFFF`, `{"c":{"a":"\uDBFF"}}`},
		JSONTooDeep: {deep("[", 128), deep(`{"a":`, 128)},
		JSONTrailingText: {`{}{}`, `{} x`, `{}}`, `{},`, `{"a":1}01`, "{}\x00", `{}/**/`,
			"{}\uFEFF"},
		JSONSyntax: {`{,}`, `{a:1}`, `{'a':1}`, `{1:1}`, `{"a"}`, `{"a" 1}`, `{"a"=1}`, `{"a":}`,
			`{"a":,`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a":1"b":2}`, `{"a":1]`, `{"a":1:`,
			`{"a":1 5}`, `{"a":[1 2]}`, `{"a":[,1]}`, `{"a":[1,]}`, `{"a":[1}`, `{"a":{]`,
			`{"a":True}`, `{"a":tru}`, `{"a":truex`, `{"a":null1}`, `{"a":NaN}`, `{"a":+1}`,
			`{"a":.5}`, `{"a":"""`, `{"a":'x'}`, "{\x00}", "{\u00a0}", `{"a":1é}`, `{"c":[tru `,
			`{"a":1;`},
	} {
		for _, text := range texts {
			var r reader
			if _, f := r.entry([]byte(text), new(ledger.Entry)); f.code != code {
				t.Errorf("%.60q: %q, not %q", text, meanings[f.code].detail, meanings[code].detail)
			}
		}
	}
}

// TestScanAgainstLibrary mutates texts and compares with encoding/json, which
// accepts more UTF-8 and surrogates.
func TestScanAgainstLibrary(t *testing.T) {
	seeds := []string{
		`{"entry_id":"0192f0c1-7d3a-7cc1-9a55-0242ac120002","user_id":"42","amount":500,` +
			`"at_ms":1763900000000}`,
		`{"requests":[{"user_id":"42","read":"balance"},{"user_id":"7","window":"7d","x":[1.5e3,-0,` +
			`null,true]}]}`,
		`["a\"b\\c\/d\be\ff\ng\rh\ti","é€😀 and more text that is long", {"":{}} , [[]], 0.1E-7 ]`,
	}
	const spice = "\"\\{}[]:,0123456789-+.eE tfnu \x00\x1f\x7f\xc3\xa9"
	rng := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 200_000 {
		b := []byte(seeds[rng.IntN(len(seeds))])
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(b))
			switch c := spice[rng.IntN(len(spice))]; rng.IntN(3) {
			case 0:
				b[at] = c
			case 1:
				b = append(b[:at], b[at+1:]...)
			default:
				b = append(b[:at], append([]byte{c}, b[at:]...)...)
			}
		}
		got := isJSON(string(b))
		if want := json.Valid(b) && utf8.Valid(b); got != want {
			t.Fatalf("isJSON(%q) = %v, encoding/json says %v", b, got, want)
		}
		if got {
			accepted++
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d of the texts were JSON", accepted)
	}
}
