package shadow

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
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

// digester names payloads in exhibits by keyed hashes: equal payloads have
// equal names, and nobody without the key can try which payload it was.
type digester struct{ key []byte }

func newDigester() digester {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return digester{key: key}
}

// digest returns 16 hexadecimal digits; none for a payload that was not kept.
func (d digester) digest(body []byte) string {
	if body == nil {
		return ""
	}
	mac := hmac.New(sha256.New, d.key)
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
