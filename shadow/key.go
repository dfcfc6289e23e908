package shadow

import (
	"hash/maphash"

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
