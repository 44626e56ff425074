package api

import (
	"strings"
	"testing"

	"purser/peers/ledger"

	"github.com/zeebo/xxh3"
)

func hashed(text string) ledger.ID {
	hash := xxh3.HashString128(text)
	return ledger.ID{Hi: hash.Hi, Lo: hash.Lo}
}

func TestParseUint(t *testing.T) {
	for _, c := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"0", 0, true}, {"42", 42, true}, {"18446744073709551615", 1<<64 - 1, true},
		{"9999999999999999999", 9999999999999999999, true},
		{"10000000000000000000", 10000000000000000000, true},
		{"18446744073709551616", 0, false}, {"99999999999999999999", 0, false},
		{"100000000000000000000", 0, false},
		{"", 0, false}, {"00", 0, false}, {"042", 0, false}, {"-1", 0, false}, {"+1", 0, false},
		{" 1", 0, false},
		{"1 ", 0, false}, {"1.0", 0, false}, {"1e3", 0, false}, {"x", 0, false}, {"１", 0, false},
	} {
		got, ok := parseUint([]byte(c.text))
		if ok != c.ok || ok && got != c.want {
			t.Errorf("parseUint(%q) = %d, %v", c.text, got, ok)
		}
	}
}

func TestParseUser(t *testing.T) {
	number := func(n uint64) ledger.UserID { return ledger.UserID{Number: n} }
	for text, want := range map[string]ledger.UserID{
		"0": number(0), "42": number(42), "18446744073709551615": number(1<<64 - 1),
	} {
		if got, ok := parseUser(text); !ok || got != want {
			t.Errorf("parseUser(%q) = %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"00", "042", "18446744073709551616", "99999999999999999999", "100000000000000000000", "-1",
		"1.0", "1e3", "-", "_", "~", ":", "@", "...", "..a", ".a", "a.", "a", "z", "A", "Z",
		"users:1234", "a@example.org", "0192F0c1-7d3a-7Cc1-9A55-0242ac12000f",
		"abcdefghijklmnopqrstuvwxyz-._~:@", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
		strings.Repeat("0", 64), strings.Repeat("x", 64),
	} {
		if got, ok := parseUser(text); !ok || got != (ledger.UserID{Text: text}) {
			t.Errorf("parseUser(%q) = %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"", ".", "..", strings.Repeat("0", 65), strings.Repeat("x", 65), " 1", "1 ", "a b", "+1", "é",
		"１", "a\x00", "a\n", "a\x7f", "a\xff",
	} {
		if got, ok := parseUser(text); ok {
			t.Errorf("parseUser(%q) = %+v", text, got)
		}
	}
	// Every byte but those of the alphabet is refused.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@"
	for c := range 256 {
		text := "a" + string([]byte{byte(c)})
		if _, ok := parseUser(text); ok != (strings.IndexByte(alphabet, byte(c)) >= 0) {
			t.Errorf("parseUser(%q) = %v", text, ok)
		}
	}
}

func TestParseID(t *testing.T) {
	for _, c := range []struct {
		text string
		want ledger.ID
		ok   bool
	}{
		{"0", ledger.ID{}, true},
		{"18446744073709551615", ledger.ID{Lo: 1<<64 - 1}, true},
		{"18446744073709551616", ledger.ID{Hi: 1}, true},
		{"340282366920938463463374607431768211455", ledger.ID{Hi: 1<<64 - 1, Lo: 1<<64 - 1}, true},
		{"00000000-0000-0000-0000-000000000001", ledger.ID{Lo: 1}, true},
		{"0192F0c1-7d3a-7Cc1-9A55-0242ac12000f", ledger.ID{Hi: 0x0192f0c17d3a7cc1,
			Lo: 0x9a550242ac12000f}, true},
		{strings.Repeat("1", 32), ledger.ID{Hi: 0x8c3defb1ed, Lo: 0xb984fe2ac71c71c7}, true},
		// XXH3-128 with seed 0.
		{"a", ledger.ID{Hi: 0xa96faf705af16834, Lo: 0xe6c632b61e964e1f}, true},
		{"tx9:1", hashed("tx9:1"), true},
		{"01", hashed("01"), true}, {"-1", hashed("-1"), true},
		{"340282366920938463463374607431768211456", hashed("340282366920938463463374607431768211456"),
			true},
		{"0192f0c17d3a7cc19a550242ac12000f", hashed("0192f0c17d3a7cc19a550242ac12000f"), true},
		{"0192f0c1-7d3a-7cc1-9a55-0242ac12000g", hashed("0192f0c1-7d3a-7cc1-9a55-0242ac12000g"), true},
		{"0192f0c1-7d3a-7cc1-9a55--242ac12000f", hashed("0192f0c1-7d3a-7cc1-9a55--242ac12000f"), true},
		{strings.Repeat("~", 128), hashed(strings.Repeat("~", 128)), true},
		{strings.Repeat("~", 129), ledger.ID{}, false},
		{"", ledger.ID{}, false}, {"a b", ledger.ID{}, false}, {`a"`, ledger.ID{}, false},
		{`a\\`, ledger.ID{}, false}, {"é", ledger.ID{}, false}, {"a\x7f", ledger.ID{}, false},
	} {
		got, ok := parseID([]byte(c.text))
		if ok != c.ok || ok && got != c.want {
			t.Errorf("parseID(%q) = %x, %v", c.text, got, ok)
		}
	}
}

func TestParseWindow(t *testing.T) {
	const minute = 60_000
	for _, c := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"lifetime", 0, true}, {"15m", 15 * minute, true}, {"24h", 1440 * minute, true},
		{"1d", 1440 * minute, true},
		{"1440m", 1440 * minute, true}, {"400d", 576000 * minute, true}, {"9600h", 576000 * minute, true},
		{"576000m", 576000 * minute, true}, {"45m", 45 * minute, true},
		{"", 0, false}, {"m", 0, false}, {"0m", 0, false}, {"0d", 0, false}, {"10m", 0, false},
		{"16m", 0, false},
		{"015m", 0, false}, {"401d", 0, false}, {"9601h", 0, false}, {"576015m", 0, false},
		{"1000000m", 0, false},
		{"999999d", 0, false}, {"15", 0, false}, {"15s", 0, false}, {"15M", 0, false}, {"1w", 0, false},
		{"-15m", 0, false},
		{"+15m", 0, false}, {"1.5h", 0, false}, {" 15m", 0, false}, {"15m ", 0, false},
		{"1h30m", 0, false}, {"Lifetime", 0, false},
		{"99999999999999999999m", 0, false},
	} {
		got, ok := parseWindow([]byte(c.text))
		if ok != c.ok || ok && got != c.want {
			t.Errorf("parseWindow(%q) = %d, %v", c.text, got, ok)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		text           string
		currency, kind bool
	}{
		{"USD", true, true}, {"COIN", true, true}, {"DIAMONDS", true, true}, {"A00", true, true},
		{"US", true, true}, {"USD/2", true, false}, {"A._-", true, true}, {"A:", false, true},
		{"U", false, true}, {"DIAMONDSX", false, true}, {"0AB", false, true}, {"USd", false, true},
		{"gift_sent", false, true}, {"payment.captured", false, true}, {"9a", false, true},
		{"a:b-c_d", false, true}, {strings.Repeat("a", 32), false, true},
		{strings.Repeat("a", 33), false, false}, {"", false, false}, {"_a", false, false},
		{".a", false, false}, {"/AB", false, false}, {"a b", false, false}, {"a/b", false, false},
		{"ÄB", false, false}, {"a\x00", false, false}, {"A@", false, false}, {"[A", false, false},
		{"a{", false, false}, {"`a", false, false},
	} {
		if got := isCurrency([]byte(c.text)); got != c.currency {
			t.Errorf("isCurrency(%q) = %v", c.text, got)
		}
		if got := isKind([]byte(c.text)); got != c.kind {
			t.Errorf("isKind(%q) = %v", c.text, got)
		}
	}
}

func TestEcho(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "abc": "abc", " ~": " ~", "a\"b": "", "a\\b": "", "a\x1f": "", "a\x7f": "", "é": "",
		strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("x", 65): "",
	} {
		if got := echo([]byte(name)); got != want {
			t.Errorf("echo(%q) = %q", name, got)
		}
	}
}
