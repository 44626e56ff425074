package api

import (
	"math"
	"math/bits"
	"strings"

	"purser/peers/ledger"

	"github.com/zeebo/xxh3"
)

// maxTime is the last millisecond of the year 9999.
const maxTime = 253402300799999

// parseUint parses a decimal integer without leading zeros.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n uint64
	for i, c := range b {
		d := c - '0'
		if d > 9 {
			return 0, false
		}
		if i == 19 { // the only digit that can leave 64 bits
			hi, lo := bits.Mul64(n, 10)
			sum, carry := bits.Add64(lo, uint64(d), 0)
			return sum, hi+carry == 0
		}
		n = n*10 + uint64(d)
	}
	return n, true
}

// parseTime parses a time in milliseconds without leading zeros or sign.
func parseTime(b []byte) (int64, bool) {
	n, ok := parseUint(b)
	return int64(n), ok && n <= maxTime
}

// maxUserBytes is the limit of a user id.
const maxUserBytes = 64

// parseUser parses a user id, which keeps s if it is not a number. Proxies fold
// the segments . and .. of a path, so these are no ids.
func parseUser(s string) (ledger.UserID, bool) {
	if n, ok := parseUint([]byte(s)); ok {
		return ledger.UserID{Number: n}, true
	}
	if s == "" || len(s) > maxUserBytes || s == "." || s == ".." {
		return ledger.UserID{}, false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("-._~:@", c) < 0 {
			return ledger.UserID{}, false
		}
	}
	return ledger.UserID{Text: s}, true
}

// maxIDBytes is the limit of an entry id.
const maxIDBytes = 128

// parseID parses an entry id: a UUID, a decimal integer of 128 bits, or any other
// text of printable characters, which stands for its hash.
func parseID(b []byte) (ledger.ID, bool) {
	if len(b) == 36 && b[8] == '-' {
		if id, ok := parseUUID(b); ok {
			return id, true
		}
	} else if id, ok := parseDecimal(b); ok {
		return id, true
	}
	if len(b) == 0 || len(b) > maxIDBytes {
		return ledger.ID{}, false
	}
	for _, c := range b {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return ledger.ID{}, false
		}
	}
	hash := xxh3.Hash128(b)
	return ledger.ID{Hi: hash.Hi, Lo: hash.Lo}, true
}

// parseDecimal parses a decimal integer below 2^128 without leading zeros.
func parseDecimal(b []byte) (ledger.ID, bool) {
	if len(b) < 20 {
		n, ok := parseUint(b)
		return ledger.ID{Lo: n}, ok
	}
	if len(b) > 39 || b[0] == '0' {
		return ledger.ID{}, false
	}
	var id ledger.ID
	for _, c := range b {
		d := c - '0'
		if d > 9 {
			return ledger.ID{}, false
		}
		over, hi := bits.Mul64(id.Hi, 10)
		mid, lo := bits.Mul64(id.Lo, 10)
		lo, carry := bits.Add64(lo, uint64(d), 0)
		hi, carry = bits.Add64(hi, mid, carry)
		if over+carry != 0 {
			return ledger.ID{}, false
		}
		id = ledger.ID{Hi: hi, Lo: lo}
	}
	return id, true
}

// parseUUID parses the 36 bytes of a UUID, 8-4-4-4-12.
func parseUUID(b []byte) (ledger.ID, bool) {
	_ = b[35]
	if b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return ledger.ID{}, false
	}
	a, bad1 := hexBits(0, b[:8])
	a, bad2 := hexBits(a, b[9:13])
	a, bad3 := hexBits(a, b[14:18])
	c, bad4 := hexBits(0, b[19:23])
	c, bad5 := hexBits(c, b[24:36])
	return ledger.ID{Hi: a, Lo: c}, (bad1|bad2|bad3|bad4|bad5)&0xf0 == 0
}

// hexBits appends hexadecimal digits to n. Bits 4 to 7 of bad are set if one of
// them was none.
func hexBits(n uint64, b []byte) (_ uint64, bad byte) {
	for _, c := range b {
		d := hexDigits[c]
		bad |= d
		n = n<<4 | uint64(d&15)
	}
	return n, bad
}

// parseAmount parses a JSON number as an amount.
func parseAmount(v *value) (int64, Code) {
	if v.kind != numberValue {
		return 0, InvalidField
	}
	digits := v.text
	if digits[0] == '-' {
		// A number has no leading zeros, so a zero is -0 or has a fraction.
		for _, c := range digits[1:] {
			if c-'0' >= 10 {
				return 0, InvalidField
			}
		}
		if digits[1] == '0' {
			return 0, InvalidField
		}
		return 0, AmountNegative
	}
	n, ok := parseUint(digits)
	if !ok || n > math.MaxInt64 {
		return 0, InvalidField
	}
	return int64(n), None
}

// isCurrency reports whether b has the form of a currency.
func isCurrency(b []byte) bool {
	if len(b) < 2 || len(b) > 8 || b[0]-'A' >= 26 {
		return false
	}
	for _, c := range b[1:] {
		if c-'A' >= 26 && c-'0' >= 10 && strings.IndexByte("._/-", c) < 0 {
			return false
		}
	}
	return true
}

// isKind reports whether b has the form of a kind.
func isKind(b []byte) bool {
	if len(b) == 0 || len(b) > 32 || !isAlphanumeric(b[0]) {
		return false
	}
	for _, c := range b[1:] {
		if !isAlphanumeric(c) && strings.IndexByte("._:-", c) < 0 {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c|0x20-'a' < 26 || c-'0' < 10
}

const (
	bucketMinutes    = 15
	maxWindowMinutes = 400 * 24 * 60
	minuteMs         = 60_000
)

// parseWindow parses a window into milliseconds; 0 means the whole lifetime.
func parseWindow(b []byte) (ms int64, ok bool) {
	if string(b) == "lifetime" {
		return 0, true
	}
	last := len(b) - 1
	if last < 1 || last > 6 {
		return 0, false
	}
	n, ok := parseUint(b[:last])
	if !ok {
		return 0, false
	}
	switch b[last] {
	case 'm':
	case 'h':
		n *= 60
	case 'd':
		n *= 24 * 60
	default:
		return 0, false
	}
	if n == 0 || n > maxWindowMinutes || n%bucketMinutes != 0 {
		return 0, false
	}
	return int64(n) * minuteMs, true
}
