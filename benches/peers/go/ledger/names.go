package ledger

import "strings"

// name stands for a currency or a kind of a shard.
type name uint32

// unknown is the name of texts that have none.
const unknown name = 0

// names numbers the currencies and kinds of a shard. It never forgets one.
type names struct {
	numbers map[string]name
	texts   []string
}

// newNames returns an empty table.
func newNames() names {
	return names{make(map[string]name), make([]string, 1)}
}

// find returns the name of a text, or unknown.
func (n *names) find(text string) name {
	return n.numbers[text]
}

// keep returns the name of a text and creates it if there is none.
func (n *names) keep(text string) name {
	if known := n.numbers[text]; known != unknown {
		return known
	}
	text = strings.Clone(text)
	fresh := name(len(n.texts))
	n.texts = append(n.texts, text)
	n.numbers[text] = fresh
	return fresh
}

// text returns the text of a name.
func (n *names) text(of name) string {
	return n.texts[of]
}

// compare orders two names by their texts.
func (n *names) compare(a, b name) int {
	if a == b {
		return 0
	}
	return strings.Compare(n.texts[a], n.texts[b])
}
