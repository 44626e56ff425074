package api

import "strings"

// question is the query of a request: that of a read, or of a feed.
type question struct {
	currency string // "" is any
	kind     string
	windowMs int64 // 0 is the lifetime
	atMs     int64
	hasAt    bool

	lateAccepted bool
}

// The parameters of a query, as a set.
type params uint8

const (
	paramCurrency params = 1 << iota
	paramKind
	paramWindow
	paramAt
	paramLate

	noParams      params = 0
	balanceParams        = paramCurrency | paramAt
	statsParams          = paramCurrency | paramKind | paramWindow | paramAt
	feedParams           = paramLate
)

func paramOf(name string) params {
	switch name {
	case "currency":
		return paramCurrency
	case "kind":
		return paramKind
	case "window":
		return paramWindow
	case "at_ms":
		return paramAt
	case "late":
		return paramLate
	}
	return 0
}

// readQuery parses a query with the known parameters, in their order of
// appearance. If a window is among them, it is required.
func readQuery(raw string, known params, q *question) fault {
	*q = question{}
	var seen params
	for more := raw != ""; more; {
		var pair string
		pair, raw, more = strings.Cut(raw, "&")
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, ok := unescape(rawName)
		if !ok {
			return fault{code: InvalidParameter}
		}
		bad := fault{InvalidParameter, name}
		value, ok := unescape(rawValue)
		p := paramOf(name)
		if !ok || value == "" || p&known == 0 || p&seen != 0 {
			bad.field = echo([]byte(name))
			return bad
		}
		seen |= p
		text := []byte(value)
		switch p {
		case paramCurrency:
			ok = isCurrency(text)
			q.currency = value
		case paramKind:
			ok = isKind(text)
			q.kind = value
		case paramAt:
			q.hasAt = true
			q.atMs, ok = parseTime(text)
		case paramLate:
			q.lateAccepted = value == "accept"
			ok = q.lateAccepted
		case paramWindow:
			if q.windowMs, ok = parseWindow(text); !ok {
				bad.code = InvalidWindow
			}
		}
		if !ok {
			return bad
		}
	}
	if known&paramWindow != 0 {
		if seen&paramWindow == 0 {
			return fault{InvalidWindow, "window"}
		}
		if q.windowMs == 0 && q.hasAt {
			return fault{InvalidParameter, "at_ms"}
		}
	}
	return fault{}
}

// unescape decodes the percent escapes of a query's name or value. A plus
// stays a plus.
func unescape(s string) (string, bool) {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s, true
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if len(s)-i < 3 {
				return "", false
			}
			hi, lo := hexDigits[s[i+1]], hexDigits[s[i+2]]
			if hi|lo > 15 {
				return "", false
			}
			c = hi<<4 | lo
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}
