package shadow

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Signatures of payloads that cannot be taken apart.
const (
	notKept = "(not kept)" // the budget for payloads was spent
	notJSON = "(not JSON)"
	// Not the payload differs, but the event's name or its sender.
	otherName = "(event name)"
	otherUser = "(user_id)"
)

// maxPaths bounds the paths in a signature.
const maxPaths = 8

// signature says in what two payloads differ: the JSON paths, sorted and
// joined by commas, such as "sent_at,user.name". It is empty when they are
// the same JSON value: members in any order, numbers in any notation, any
// spacing.
func signature(a, b []byte) string {
	if a == nil || b == nil {
		return notKept
	}
	x, okX := parse(a)
	y, okY := parse(b)
	if !okX || !okY {
		return notJSON
	}
	var d differ
	d.compare("", x, y)
	slices.Sort(d.paths)
	return strings.Join(slices.Compact(d.paths), ",")
}

func parse(data []byte) (v any, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if dec.Decode(&v) != nil || dec.More() {
		return nil, false
	}
	return v, true
}

// differ collects the paths at which two values differ.
type differ struct{ paths []string }

func (d *differ) compare(path string, a, b any) {
	if len(d.paths) >= maxPaths {
		return
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			d.compareObjects(path, x, y)
			return
		}
	case []any:
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				d.compare(path+"[]", x[i], y[i])
			}
			return
		}
	case json.Number:
		if y, ok := b.(json.Number); ok && sameNumber(x, y) {
			return
		}
	default:
		if _, composite := b.(map[string]any); composite {
			break
		}
		if _, composite := b.([]any); !composite && a == b {
			return
		}
	}
	if path == "" {
		path = "(all)"
	}
	d.paths = append(d.paths, path)
}

func (d *differ) compareObjects(path string, a, b map[string]any) {
	at := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	names := make([]string, 0, len(a))
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names) // so that the first paths are always the same ones
	for _, name := range names {
		x, inA := a[name]
		y, inB := b[name]
		switch {
		case inA && inB:
			d.compare(at(name), x, y)
		case len(d.paths) < maxPaths:
			d.paths = append(d.paths, at(name))
		}
	}
}

// sameNumber reports whether two numbers are the same: 1, 1.0 and 1e0. Those
// too long to be exact are compared as written.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	const exact = 15 // digits that a float64 surely keeps
	if len(a) > exact || len(b) > exact {
		return false
	}
	x, errX := strconv.ParseFloat(string(a), 64)
	y, errY := strconv.ParseFloat(string(b), 64)
	return errX == nil && errY == nil && x == y
}
