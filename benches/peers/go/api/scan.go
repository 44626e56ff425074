package api

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is the deepest nesting of arrays and objects, including the outermost.
const maxDepth = 128

// broken is the position that a scan returns for invalid JSON.
const broken = -1

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
// lone surrogate.
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
			if n == 0 {
				return broken, false
			}
			escaped = true
			i += n
		case c < ' ':
			return broken, false
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return broken, false
			}
			i += n
		}
	}
	return broken, false
}

// escapeLen returns the length of the escape at the start of b, both halves of
// a surrogate pair together; 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		switch r := hex4(b[2:]); {
		case r < 0 || r >= 0xDC00 && r < 0xE000:
			return 0
		case r < 0xD800 || r >= 0xE000:
			return 6
		}
		if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
			return 0
		}
		if r := hex4(b[8:]); r < 0xDC00 || r >= 0xE000 {
			return 0
		}
		return 12
	}
	return 0
}

// hex4 returns the value of four hexadecimal digits, or -1.
func hex4(b []byte) int {
	if len(b) < 4 {
		return -1
	}
	r := 0
	for _, c := range b[:4] {
		d := hexDigits[c]
		if d > 15 {
			return -1
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
		if i = scanDigits(b, i); i == broken {
			return broken
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = scanDigits(b, i+1); i == broken {
			return broken
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
	if i == start {
		return broken
	}
	return i
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

// scanValue scans the value at i, within depth arrays and objects, and returns
// the position after it.
func scanValue(b []byte, i, depth int) (value, int) {
	if i >= len(b) {
		return value{}, broken
	}
	switch c := b[i]; c {
	case '"':
		end, escaped := scanString(b, i+1)
		if end == broken {
			return value{}, broken
		}
		return value{stringValue, escaped, b[i+1 : end]}, end + 1
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		end := scanNumber(b, i)
		if end == broken {
			return value{}, broken
		}
		return value{numberValue, false, b[i:end]}, end
	}
	return value{kind: otherValue}, scanOther(b, i, depth)
}

// scanOther returns the position after an array, an object or a literal.
func scanOther(b []byte, i, depth int) int {
	switch b[i] {
	case '[', '{':
		if depth == maxDepth {
			return broken
		}
		return scanNested(b, i, depth+1)
	case 't':
		return scanLiteral(b, i, "true")
	case 'f':
		return scanLiteral(b, i, "false")
	case 'n':
		return scanLiteral(b, i, "null")
	}
	return broken
}

func scanLiteral(b []byte, i int, s string) int {
	if len(b)-i < len(s) || string(b[i:i+len(s)]) != s {
		return broken
	}
	return i + len(s)
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
			if _, i = scanName(b, i); i == broken {
				return broken
			}
		}
		if _, i = scanValue(b, i, depth); i == broken {
			return broken
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
		return value{}, broken
	}
	end, escaped := scanString(b, i+1)
	if end == broken {
		return value{}, broken
	}
	name := value{stringValue, escaped, b[i+1 : end]}
	i = skipSpace(b, end+1)
	if i >= len(b) || b[i] != ':' {
		return value{}, broken
	}
	return name, skipSpace(b, i+1)
}

// scanNext scans what may follow an element: a comma, after which it reports
// that there is more, or the closing bracket.
func scanNext(b []byte, i int, closing byte) (next int, more bool) {
	i = skipSpace(b, i)
	if i >= len(b) {
		return broken, false
	}
	switch b[i] {
	case ',':
		return skipSpace(b, i+1), true
	case closing:
		return i + 1, false
	}
	return broken, false
}
