package api

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// isJSON reports whether text is one JSON value.
func isJSON(text string) bool {
	b := []byte(text)
	_, i := scanValue(b, skipSpace(b, 0), 0)
	return i != broken && skipSpace(b, i) == len(b)
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
