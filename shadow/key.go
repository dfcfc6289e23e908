package shadow

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"strings"

	"github.com/offramp/offramp/proxy"
)

// hasher makes the content keys by which events without an id are found
// again. It is seeded anew in every process, so a key says nothing of a
// payload outside it.
type hasher struct{ seed maphash.Seed }

func newHasher() hasher { return hasher{seed: maphash.MakeSeed()} }

// key is the content key of an event within its channel: its name and the
// exact bytes of its data. The sender's user id is compared apart, as not
// every backend carries it.
func (h hasher) key(ev *proxy.Event) uint64 {
	var m maphash.Hash
	m.SetSeed(h.seed)
	m.WriteString(ev.Name)
	m.WriteByte(0) // cannot occur in a name
	m.Write(ev.Data)
	return m.Sum64()
}

// user is the key of a sender; 0: none is known.
func (h hasher) user(id string) uint64 {
	if id == "" {
		return 0
	}
	return max(1, maphash.String(h.seed, id))
}

// sameJSON reports whether two payloads are the same JSON value: members in
// any order, numbers in any notation of the same decimal text, any spacing.
func sameJSON(a, b []byte) bool {
	x, okX := canonical(a)
	y, okY := canonical(b)
	return okX && okY && bytes.Equal(x, y)
}

// canonical returns a JSON text with sorted members and no spacing.
func canonical(data []byte) ([]byte, bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil, false
	}
	out, err := json.Marshal(normalNumbers(v))
	return out, err == nil
}

// normalNumbers turns numbers that are exact as float64 into one notation, so
// that 1.0, 1 and 1e0 are the same, and leaves the others as written.
func normalNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil || len(strings.TrimLeft(string(v), "-0.")) > 15 {
			return v
		}
		return f
	case []any:
		for i := range v {
			v[i] = normalNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = normalNumbers(v[k])
		}
	}
	return v
}
