package upstream

import (
	"sync"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// keepIDs is how long after a connection's end the vendor may still tell of
// it.
const keepIDs = 6 * time.Minute

// identities are the connections that the gateway has or had at the vendor, by
// their socket id there.
type identities struct {
	mu    sync.Mutex
	all   map[protocol.SocketID]identity
	swept time.Time
}

type identity struct {
	client protocol.SocketID // whom it is for, by the id here; empty: a tap or ghost
	gone   time.Time         // zero: it is open
}

func (ids *identities) opened(id, client protocol.SocketID) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if ids.all == nil {
		ids.all = make(map[protocol.SocketID]identity)
	}
	ids.all[id] = identity{client: client}
}

func (ids *identities) closed(id protocol.SocketID) {
	now := time.Now()
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if is, ok := ids.all[id]; ok {
		is.gone = now
		ids.all[id] = is
	}
	if now.Sub(ids.swept) < time.Minute {
		return
	}
	ids.swept = now
	for id, is := range ids.all {
		if !is.gone.IsZero() && now.Sub(is.gone) > keepIDs {
			delete(ids.all, id)
		}
	}
}

// of returns whose a connection is.
func (ids *identities) of(id protocol.SocketID) (is identity, ok bool) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	is, ok = ids.all[id]
	return is, ok
}
