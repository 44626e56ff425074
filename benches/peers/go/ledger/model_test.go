package ledger

import (
	"math/big"
	"slices"
	"sort"
	"strings"
)

// model is the simplest implementation of the contract for one user: a list of
// all accepted entries, searched in full for every answer.
type model struct {
	accepted []booked
	open     []held
	starts   [2]int64 // R and S of the contract
}

// booked is an accepted entry with the group that it belongs to.
type booked struct {
	Entry
	group Stat // only currency, kind and direction
	moved bool
	kept  int64 // the latest time when it was accepted
}

// held is an open hold.
type held struct {
	ID     ID
	amount int64
	group  Stat
	own    bool
}

func (m *model) latest() int64 {
	n := int64(0)
	for _, b := range m.accepted {
		n = max(n, b.AtMs)
	}
	return n
}

func (m *model) apply(nowMs int64, e Entry) Verdict {
	if e.AtMs > nowMs+3_600_000 {
		return EntryInFuture
	}
	start := max(m.latest()-86_400_000, m.starts[0])
	if e.AtMs < start && !e.LateAccepted {
		return EntryTooOld
	}
	for _, b := range m.accepted {
		if b.ID == e.ID && b.kept >= start {
			b.LateAccepted = e.LateAccepted
			if b.Entry == e {
				return Duplicate
			}
			return EntryIDConflict
		}
	}
	if slices.ContainsFunc(m.open, func(h held) bool { return h.ID == e.ID && h.own }) {
		return EntryIDConflict
	}
	next := booked{e, Stat{Currency: e.Currency, Kind: e.Kind, Direction: e.Direction},
		e.Action == Post || e.Action == Settle, max(m.latest(), e.AtMs)}
	open := slices.Clone(m.open)
	if e.Action != Post {
		id := e.Hold
		if e.Action == Hold {
			id = e.ID
		}
		i := slices.IndexFunc(open, func(h held) bool { return h.ID == id })
		if i < 0 && !e.HasTerms {
			return PendingNotFound
		}
		if i >= 0 {
			group := open[i].group
			switch {
			case !e.HasTerms:
				next.group = group
			case e.Action == Hold && e.Currency != group.Currency:
				return PendingMismatchCurrency
			case e.Action == Hold && e.Direction != group.Direction:
				return PendingMismatchDirection
			case e.Currency != group.Currency || e.Direction != group.Direction:
				return PendingMismatchID
			}
		} else {
			open = append(open, held{id, 0, next.group, false})
			i = len(open) - 1
		}
		h := &open[i]
		switch {
		case e.Action == Hold || e.Action == Grow:
			if sum := new(big.Int).Add(big.NewInt(h.amount), big.NewInt(e.Amount)); !sum.IsInt64() {
				return BalanceOverflow
			}
			h.amount += e.Amount
			h.own = h.own || e.Action == Hold
		case e.Action == Settle && e.Final || e.Action == Void && !e.HasAmount:
			h.amount = 0
		default:
			h.amount -= min(h.amount, e.Amount)
		}
		if h.amount == 0 {
			open = slices.Delete(open, i, i+1)
		}
	}
	after := model{append(slices.Clip(m.accepted), next), open, m.starts}

	currencies := map[string]bool{}
	groups := map[Stat]bool{}
	for _, b := range after.accepted {
		currencies[b.group.Currency] = true
		if b.moved {
			groups[b.group] = true
		}
	}
	if len(currencies) > 16 {
		return TooManyCurrencies
	}
	if len(groups) > 256 {
		return TooManyGroups
	}
	if len(open) > 65536 {
		return TooManyHolds
	}
	if after.overflows() {
		return BalanceOverflow
	}
	if len(after.accepted)%524288 == 0 {
		after.starts = [2]int64{m.starts[1], next.kept}
	}
	*m = after
	return Accepted
}

// overflows recomputes every figure that the contract bounds.
func (m *model) overflows() bool {
	figures := map[string]*big.Int{}
	add := func(figure string, amount int64, sign int64) {
		if figures[figure] == nil {
			figures[figure] = new(big.Int)
		}
		figures[figure].Add(figures[figure], new(big.Int).Mul(big.NewInt(amount), big.NewInt(sign)))
	}
	for _, b := range m.accepted {
		if !b.moved {
			continue
		}
		sign := int64(1)
		if b.group.Direction == Debit {
			sign = -1
		}
		add("posted "+b.group.Currency, b.Amount, sign)
		add("available "+b.group.Currency, b.Amount, sign)
		add("sum "+b.group.Currency+" "+b.group.Kind+" "+b.group.Direction.String(), b.Amount, 1)
	}
	for _, h := range m.open {
		add(h.group.Direction.String()+" "+h.group.Currency, h.amount, 1)
		if h.group.Direction == Debit {
			add("available "+h.group.Currency, h.amount, -1)
		}
	}
	for _, f := range figures {
		if !f.IsInt64() {
			return true
		}
	}
	return false
}

func (m *model) balances() Balances {
	out := Balances{uint64(len(m.accepted)), m.latest(), []Balance{}}
	at := func(currency string) *Balance {
		for i := range out.Items {
			if out.Items[i].Currency == currency {
				return &out.Items[i]
			}
		}
		out.Items = append(out.Items, Balance{Currency: currency})
		return &out.Items[len(out.Items)-1]
	}
	for _, b := range m.accepted {
		item := at(b.group.Currency)
		if b.moved && b.group.Direction == Credit {
			item.Posted += b.Amount
		} else if b.moved {
			item.Posted -= b.Amount
		}
	}
	for _, h := range m.open {
		if h.group.Direction == Credit {
			at(h.group.Currency).PendingCredits += h.amount
		} else {
			at(h.group.Currency).PendingDebits += h.amount
		}
	}
	for i := range out.Items {
		out.Items[i].Available = out.Items[i].Posted - out.Items[i].PendingDebits
	}
	sort.Slice(out.Items, func(i, j int) bool { return out.Items[i].Currency < out.Items[j].Currency })
	return out
}

// past returns the balances before the instant of a past balance, by currency.
func (m *model) past(at int64) (int64, map[string]*big.Int) {
	const bucket, hour, day = 900_000, 3_600_000, 86_400_000
	n := m.latest()
	ceil := func(t, unit int64) int64 { return (t + unit - 1) / unit * unit }
	edge := ceil(at, bucket)
	switch {
	case edge < max(n-8*day, 0)/day*day:
		edge = ceil(edge, day)
	case edge < max(n-26*hour, 0)/hour*hour:
		edge = ceil(edge, hour)
	}
	edge = max(edge, max(n-400*day, 0)/day*day)
	posted := map[string]*big.Int{}
	for _, b := range m.accepted {
		if posted[b.group.Currency] == nil {
			posted[b.group.Currency] = new(big.Int)
		}
		amount := big.NewInt(b.Amount)
		if b.group.Direction == Debit {
			amount.Neg(amount)
		}
		if b.moved && b.AtMs < edge {
			posted[b.group.Currency].Add(posted[b.group.Currency], amount)
		}
	}
	return edge, posted
}

func (m *model) stats(q Question) Stats {
	const minute, hour, day = 60_000, 3_600_000, 86_400_000
	n := m.latest()
	out := Stats{uint64(len(m.accepted)), 0, (n/(15*minute) + 1) * 15 * minute, []Stat{}}
	if q.WindowMs != 0 {
		edge := func(t, unit int64) int64 {
			if t < 0 {
				return 0
			}
			return t / unit * unit
		}
		f, h, d := edge(n-26*hour, hour), edge(n-8*day, day), edge(n-400*day, day)
		grain := func(t int64) int64 {
			if t >= f {
				return 15 * minute
			}
			if t >= h {
				return hour
			}
			return day
		}
		to := (q.AtMs/(15*minute) + 1) * 15 * minute
		from := max(to-q.WindowMs, 0)
		out.FromMs = max(from/grain(from)*grain(from), d)
		if rest := to % grain(to); rest != 0 {
			to += grain(to) - rest
		}
		out.ToMs = max(to, d)
	}
	for _, b := range m.accepted {
		if !b.moved || b.AtMs < out.FromMs || b.AtMs >= out.ToMs ||
			q.Currency != "" && q.Currency != b.group.Currency || q.Kind != "" && q.Kind != b.group.Kind {
			continue
		}
		i := slices.IndexFunc(out.Items, func(s Stat) bool {
			return s.Currency == b.group.Currency && s.Kind == b.group.Kind &&
				s.Direction == b.group.Direction
		})
		if i < 0 {
			s := b.group
			s.Min, s.Max = b.Amount, b.Amount
			out.Items = append(out.Items, s)
			i = len(out.Items) - 1
		}
		s := &out.Items[i]
		s.Count++
		s.Sum += b.Amount
		s.Min = min(s.Min, b.Amount)
		s.Max = max(s.Max, b.Amount)
	}
	slices.SortFunc(out.Items, func(a, b Stat) int {
		if c := strings.Compare(a.Currency, b.Currency); c != 0 {
			return c
		}
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.Direction.String(), b.Direction.String())
	})
	return out
}
