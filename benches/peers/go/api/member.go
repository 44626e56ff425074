package api

// Unmarshal is a JSON library's way in: encoding/json's, or one like it.
type Unmarshal func(data []byte, v any) error

// reader reads JSON texts. Its slices are used again.
//
// The contract asks for more than the libraries check: repeated and unknown
// members in order, exact names, lone surrogates, the depth. So every text needs
// a scan of our own, and the values read here are flat and few: what the scan
// finds is taken as it stands in the text, and the library decodes what has
// escapes in it.
type reader struct {
	unmarshal Unmarshal
	members   []member
}

// member is one member of an object.
type member struct {
	name []byte // decoded
	value
}

// keptMembers is how many members a reader keeps space for.
const keptMembers = 256

// object scans the object whose first byte after the brace is b[i], the
// depth-th of those around each other. It leaves its members in r and returns
// the position after it, or a fault.
func (r *reader) object(b []byte, i, depth int) int {
	if cap(r.members) > keptMembers {
		r.members = nil
	}
	r.members = r.members[:0]
	i = skipSpace(b, i)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		name, at := scanName(b, i)
		if at < 0 {
			return at
		}
		v, end := scanValue(b, at, depth)
		if end < 0 {
			return end
		}
		if name.escaped {
			name.text = r.decoded(name)
		}
		r.members = append(r.members, member{name.text, v})
		var more bool
		if i, more = scanNext(b, end, '}'); !more {
			return i
		}
	}
}

// decoded returns what a string says. The string is valid.
func (r *reader) decoded(v value) []byte {
	if !v.escaped {
		return v.text
	}
	quoted := make([]byte, 0, len(v.text)+2)
	quoted = append(quoted, '"')
	quoted = append(quoted, v.text...)
	quoted = append(quoted, '"')
	var s string
	if r.unmarshal(quoted, &s) != nil {
		return nil
	}
	return []byte(s)
}

// str returns what a value says, and whether it is a string.
func (r *reader) str(v *value) ([]byte, bool) {
	if v.kind != stringValue {
		return nil, false
	}
	return r.decoded(*v), true
}

// repeated returns the name of the first member that repeats an earlier one.
func (r *reader) repeated() (name []byte, found bool) {
	seen := make(map[string]struct{}, len(r.members))
	for i := range r.members {
		name := r.members[i].name
		if _, again := seen[string(name)]; again {
			return name, true
		}
		seen[string(name)] = struct{}{}
	}
	return nil, false
}
