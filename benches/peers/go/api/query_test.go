package api

import "testing"

func TestQuery(t *testing.T) {
	ok := fault{}
	bad := func(field string) fault { return fault{InvalidParameter, field} }
	window := fault{InvalidWindow, "window"}
	for _, c := range []struct {
		raw   string
		known params
		want  fault
		q     question
	}{
		{"", balanceParams, ok, question{}},
		{"currency=COIN", balanceParams, ok, question{currency: "COIN"}},
		{"c%75rrency=C%4fIN", balanceParams, ok, question{currency: "COIN"}},
		{"currency=coin", balanceParams, bad("currency"), question{}},
		{"currency=", balanceParams, bad("currency"), question{}},
		{"currency", balanceParams, bad("currency"), question{}},
		{"=COIN", balanceParams, bad(""), question{}},
		{"&", balanceParams, bad(""), question{}},
		{"currency=COIN&", balanceParams, bad(""), question{}},
		{"&currency=COIN", balanceParams, bad(""), question{}},
		{"currency=COIN&currency=COIN", balanceParams, bad("currency"), question{}},
		{"at_ms=5&currency=COIN", balanceParams, ok,
			question{currency: "COIN", hasAt: true, atMs: 5}},
		{"at_ms=05", balanceParams, bad("at_ms"), question{}},
		{"currency=COIN&x=1", balanceParams, bad("x"), question{}},
		{"x=1&currency=coin", balanceParams, bad("x"), question{}},
		{"Currency=COIN", balanceParams, bad("Currency"), question{}},
		{"window=24h", balanceParams, bad("window"), question{}},
		{"currency=COIN;x=1", balanceParams, bad("currency"), question{}},
		{"curr+ency=COIN", balanceParams, bad("curr+ency"), question{}},
		{"curr%20ency=COIN", balanceParams, bad("curr ency"), question{}},
		{"a%22b=1", balanceParams, bad(""), question{}},
		{"%ff=1", balanceParams, bad(""), question{}},
		{"%zz=1", balanceParams, bad(""), question{}},
		{"%4=1", balanceParams, bad(""), question{}},
		{"currency=%", balanceParams, bad("currency"), question{}},
		{"currency=COIN%2", balanceParams, bad("currency"), question{}},
		{"currency=COIN%0a", balanceParams, bad("currency"), question{}},
		{"currency=CO=IN", balanceParams, bad("currency"), question{}},

		{"window=24h", statsParams, ok, question{windowMs: 86400000}},
		{"window=lifetime&kind=a&currency=USD", statsParams, ok, question{kind: "a", currency: "USD"}},
		{"at_ms=0&window=15m", statsParams, ok, question{windowMs: 900000, hasAt: true}},
		{"at_ms=253402300799999&window=15m", statsParams, ok,
			question{windowMs: 900000, hasAt: true, atMs: maxTime}},
		{"", statsParams, window, question{}},
		{"kind=a", statsParams, window, question{}},
		{"kind=_A", statsParams, bad("kind"), question{}},
		{"window=1x", statsParams, window, question{}},
		{"window=1x&kind=A", statsParams, window, question{}},
		{"kind=_A&window=1x", statsParams, bad("kind"), question{}},
		{"window=", statsParams, bad("window"), question{}},
		{"window=%zz", statsParams, bad("window"), question{}},
		{"window=1h&window=1h", statsParams, bad("window"), question{}},
		{"window=+1h", statsParams, window, question{}},
		{"window=1h&at_ms=01", statsParams, bad("at_ms"), question{}},
		{"window=1h&at_ms=-1", statsParams, bad("at_ms"), question{}},
		{"window=1h&at_ms=+1", statsParams, bad("at_ms"), question{}},
		{"window=1h&at_ms=1.0", statsParams, bad("at_ms"), question{}},
		{"window=1h&at_ms=253402300800000", statsParams, bad("at_ms"), question{}},
		{"window=lifetime&at_ms=5", statsParams, bad("at_ms"), question{}},
		{"at_ms=5&window=lifetime&kind=_A", statsParams, bad("kind"), question{}},
		{"at_ms=5&window=lifetime&x=1", statsParams, bad("x"), question{}},

		{"", feedParams, ok, question{}},
		{"late=accept", feedParams, ok, question{lateAccepted: true}},
		{"late=%61ccept", feedParams, ok, question{lateAccepted: true}},
		{"late", feedParams, bad("late"), question{}},
		{"late=", feedParams, bad("late"), question{}},
		{"late=refuse", feedParams, bad("late"), question{}},
		{"late=accept&late=accept", feedParams, bad("late"), question{}},
		{"late=accept&x=1", feedParams, bad("x"), question{}},
		{"late=accept", statsParams, bad("late"), question{}},
		{"", noParams, ok, question{}},
		{"x=1", noParams, bad("x"), question{}},
		{"currency=COIN", noParams, bad("currency"), question{}},
	} {
		var q question
		f := readQuery(c.raw, c.known, &q)
		if f != c.want || f == ok && q != c.q {
			t.Errorf("%q: got %s %q %+v, want %s %q %+v", c.raw,
				meanings[f.code].name, f.field, q, meanings[c.want.code].name, c.want.field, c.q)
		}
	}
}

func TestSplitTarget(t *testing.T) {
	for target, want := range map[string][2]string{
		"/a/b":              {"/a/b", ""},
		"/a?":               {"/a", ""},
		"/a?b=c?d":          {"/a", "b=c?d"},
		"//a":               {"//a", ""},
		"/x://y/z":          {"/x://y/z", ""},
		"http://host/a?b":   {"/a", "b"},
		"HTTPS://host:1/a":  {"/a", ""},
		"http://host":       {"/", ""},
		"http://host?x=1":   {"", "x=1"},
		"ftp://host/a":      {"ftp://host/a", ""},
		"*":                 {"*", ""},
		"":                  {"", ""},
		"/a/%62?c=%64&e=+f": {"/a/%62", "c=%64&e=+f"},
	} {
		path, query := SplitTarget(target)
		if path != want[0] || query != want[1] {
			t.Errorf("SplitTarget(%q) = %q, %q", target, path, query)
		}
	}
}
