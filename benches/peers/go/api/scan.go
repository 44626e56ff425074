package api

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is the deepest nesting of arrays and objects, including the outermost.
const maxDepth = 128

// The positions that a scan returns for invalid JSON are negative, one for each
// reason: the first fault from left to right.
const (
	endsEarly        = -1 - iota // the text ends where more is needed
	notObject                    // the text does not begin with a brace
	syntax                       // another byte than the grammar demands
	badNumber                    // a byte that breaks a number
	controlCharacter             // one in a string, unescaped
	badEscape                    // a backslash without an escape after it
	loneSurrogate                // half of a pair of escapes
	tooDeep                      // more than maxDepth
	trailingText                 // something follows the object
)

var scanFaults = [...]Code{
	-endsEarly:        JSONEndsEarly,
	-notObject:        JSONNotObject,
	-syntax:           JSONSyntax,
	-badNumber:        JSONNumber,
	-controlCharacter: JSONControlCharacter,
	-badEscape:        JSONEscape,
	-loneSurrogate:    JSONLoneSurrogate,
	-tooDeep:          JSONTooDeep,
	-trailingText:     JSONTrailingText,
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// notJSON returns the fault of a text whose scan has failed with this position.
// What is wrong with the whole text goes before the first fault in it.
func notJSON(b []byte, at int) fault {
	switch {
	case bytes.HasPrefix(b, byteOrderMark):
		return fault{code: JSONBOM}
	case !utf8.Valid(b):
		return fault{code: JSONNotUTF8}
	}
	return fault{code: scanFaults[-at]}
}

// openObject returns the position after the brace that a text must begin with.
func openObject(b []byte) int {
	i := skipSpace(b, 0)
	switch {
	case i == len(b):
		return endsEarly
	case b[i] != '{':
		return notObject
	}
	return i + 1
}

// unexpected returns the fault at a byte that the grammar does not allow there.
func unexpected(b []byte, i int) int {
	if i >= len(b) {
		return endsEarly
	}
	// Where a byte can be wrong, a digit directly before it ends a number.
	if b[i-1]-'0' < 10 && extendsNumber(b[i]) {
		return badNumber
	}
	return syntax
}

// extendsNumber reports whether a byte directly after a number is taken for a
// part of it.
func extendsNumber(c byte) bool {
	switch {
	case c-'0' < 10, c|0x20-'a' < 26:
		return true
	case c == '.', c == '+', c == '-', c == '_':
		return true
	}
	return false
}

// skipSpace returns the position of the first byte from i on that is not white
// space. Mostly there is none.
func skipSpace(b []byte, i int) int {
	if i < len(b) && b[i] > ' ' {
		return i
	}
	return skipMore(b, i)
}

func skipMore(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

const (
	everyByte = 0x0101010101010101
	everyHigh = 0x8080808080808080
)

// scanString scans a string from the byte after its opening quote. It returns
// the position of the closing quote and whether escapes come before it. The
// string is valid UTF-8 without control bytes, and its escapes contain no
// lone surrogate. For what is not UTF-8 the position is any fault.
func scanString(b []byte, i int) (end int, escaped bool) {
	for i < len(b) {
		if len(b)-i >= 8 {
			// Eight bytes at once: the lowest mark is the first byte that is
			// a quote, a backslash, a control byte or not ASCII.
			x := binary.LittleEndian.Uint64(b[i:])
			quote := x ^ everyByte*'"'
			slash := x ^ everyByte*'\\'
			marks := (quote-everyByte)&^quote | (slash-everyByte)&^slash | (x-everyByte*' ')&^x | x
			marks &= everyHigh
			if marks == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(marks) / 8
		}
		switch c := b[i]; {
		case c == '"':
			return i, escaped
		case c == '\\':
			n := escapeLen(b[i:])
			if n < 0 {
				return n, false
			}
			escaped = true
			i += n
		case c < ' ':
			return controlCharacter, false
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return syntax, false
			}
			i += n
		}
	}
	return endsEarly, false
}

// escapeLen returns the length of the escape at the start of b, both halves of
// a surrogate pair together, or a fault. A fault of digits goes before one of
// halves.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return endsEarly
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		switch r := hex4(b[2:]); {
		case r < 0:
			return r
		case r >= 0xDC00 && r < 0xE000:
			return loneSurrogate
		case r < 0xD800 || r >= 0xE000:
			return 6
		}
		switch {
		case len(b) == 6, len(b) == 7 && b[6] == '\\':
			return endsEarly
		case b[6] != '\\', b[7] != 'u':
			return loneSurrogate
		}
		switch r := hex4(b[8:]); {
		case r < 0:
			return r
		case r < 0xDC00 || r >= 0xE000:
			return loneSurrogate
		}
		return 12
	}
	return badEscape
}

// hex4 returns the value of four hexadecimal digits, or a fault.
func hex4(b []byte) int {
	r := 0
	for i := range 4 {
		if i == len(b) {
			return endsEarly
		}
		d := hexDigits[b[i]]
		if d > 15 {
			return badEscape
		}
		r = r<<4 | int(d)
	}
	return r
}

// hexDigits gives the value of each hexadecimal digit; other bytes have 0xff.
var hexDigits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i] = byte(10 + i)
		t['A'+i] = byte(10 + i)
	}
	return t
}()

// scanNumber returns the position after the number at i.
func scanNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = scanDigits(b, i); i < 0 {
			return i
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = scanDigits(b, i+1); i < 0 {
			return i
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return scanDigits(b, i)
	}
	return i
}

// scanDigits returns the position after one or more digits.
func scanDigits(b []byte, i int) int {
	start := i
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	switch {
	case i > start:
		return i
	case i == len(b):
		return endsEarly
	}
	return badNumber
}

// kind tells JSON values apart.
type kind uint8

const (
	noValue kind = iota
	stringValue
	numberValue
	otherValue
)

// value is one JSON value as it stands in the text.
type value struct {
	kind    kind
	escaped bool   // a string with escapes in it
	text    []byte // of a string what is between the quotes
}

// boolean returns the value of a true or false.
func (v *value) boolean() (is, ok bool) {
	if v.kind != otherValue {
		return false, false
	}
	is = string(v.text) == "true"
	return is, is || string(v.text) == "false"
}

// scanValue scans the value at i, within depth arrays and objects, and returns
// the position after it.
func scanValue(b []byte, i, depth int) (value, int) {
	if i >= len(b) {
		return value{}, endsEarly
	}
	switch c := b[i]; c {
	case '"':
		end, escaped := scanString(b, i+1)
		if end < 0 {
			return value{}, end
		}
		return value{stringValue, escaped, b[i+1 : end]}, end + 1
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		end := scanNumber(b, i)
		if end < 0 {
			return value{}, end
		}
		return value{numberValue, false, b[i:end]}, end
	}
	end := scanOther(b, i, depth)
	if end < 0 {
		return value{}, end
	}
	return value{otherValue, false, b[i:end]}, end
}

// scanOther returns the position after an array, an object or a literal.
func scanOther(b []byte, i, depth int) int {
	switch b[i] {
	case '[', '{':
		if depth == maxDepth {
			return tooDeep
		}
		return scanNested(b, i, depth+1)
	case 't':
		return scanLiteral(b, i, "true")
	case 'f':
		return scanLiteral(b, i, "false")
	case 'n':
		return scanLiteral(b, i, "null")
	}
	return syntax
}

func scanLiteral(b []byte, i int, s string) int {
	rest := b[i:min(i+len(s), len(b))]
	switch {
	case string(rest) == s:
		return i + len(s)
	case string(rest) == s[:len(rest)]:
		return endsEarly
	}
	return syntax
}

// scanNested returns the position after the array or object at i, which is the
// depth-th of those around each other.
func scanNested(b []byte, i, depth int) int {
	object := b[i] == '{'
	closing := b[i] + 2 // in ASCII each bracket's partner
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == closing {
		return i + 1
	}
	for {
		if object {
			if _, i = scanName(b, i); i < 0 {
				return i
			}
		}
		if _, i = scanValue(b, i, depth); i < 0 {
			return i
		}
		var more bool
		if i, more = scanNext(b, i, closing); !more {
			return i
		}
	}
}

// scanName scans a member's name and the colon, and returns the position of the
// member's value.
func scanName(b []byte, i int) (value, int) {
	if i >= len(b) || b[i] != '"' {
		return value{}, unexpected(b, i)
	}
	end, escaped := scanString(b, i+1)
	if end < 0 {
		return value{}, end
	}
	name := value{stringValue, escaped, b[i+1 : end]}
	i = skipSpace(b, end+1)
	if i >= len(b) || b[i] != ':' {
		return value{}, unexpected(b, i)
	}
	return name, skipSpace(b, i+1)
}

// scanNext scans what may follow an element: a comma, after which it reports
// that there is more, or the closing bracket.
func scanNext(b []byte, i int, closing byte) (next int, more bool) {
	i = skipSpace(b, i)
	if i >= len(b) {
		return endsEarly, false
	}
	switch b[i] {
	case ',':
		return skipSpace(b, i+1), true
	case closing:
		return i + 1, false
	}
	return unexpected(b, i), false
}
