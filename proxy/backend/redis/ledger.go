package redis

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Ledger is Presence and Occupancy over Redis. It keeps beside them what this
// node has on each channel, to tell it again when Redis was away.
type Ledger struct {
	// Set at construction.
	keys     keys
	client   client
	settings Settings
	moved    func() // Redis is another server than before
	// receivers are what webhook receivers were told.
	receivers *Told
	log       zerolog.Logger

	failed chan struct{}        // capacity 1: an exchange has failed
	reaped atomic.Uint64        // entries of dead nodes removed here
	fenced atomic.Uint64        // how often this node was taken for dead
	term   atomic.Pointer[term] // what Owners goes by; nil: there is none

	// epoch is held for reading during each exchange on a channel, and for
	// writing while the lease is exchanged for another.
	epoch sync.RWMutex
	// Guarded by epoch.
	lease string   // the node's name in Redis
	exact bool     // Redis has all of this node, and of the others
	stale []string // leases that were given up and are to be reaped
	seq   int      // of leases

	mu     sync.Mutex
	topics map[proxy.Topic]*account
	apps   map[string]bool // claimed under the present lease
}

// account is what this node has on a channel.
type account struct {
	mu      sync.Mutex
	sockets map[socket]*proxy.Member // as Redis was told
	left    map[socket]bool          // of these, those that have left while Redis was away
	count   int                      // subscriptions
	told    int                      // of these, as Redis was told

	holds int // guarded by the ledger's mu
}

type socket struct {
	id   protocol.SocketID
	user string
}

var (
	_ proxy.Presence  = (*Ledger)(nil)
	_ proxy.Occupancy = (*Ledger)(nil)
)

func newLedger(s Settings, client client) *Ledger {
	return &Ledger{
		keys: keys{s.Prefix}, client: client, settings: s, log: s.Log, failed: make(chan struct{}, 1),
		topics: make(map[proxy.Topic]*account), apps: make(map[string]bool),
	}
}

// Healthy returns ErrAway while presence and counts are not known exactly.
func (l *Ledger) Healthy() error {
	l.epoch.RLock()
	defer l.epoch.RUnlock()
	if !l.exact {
		return fmt.Errorf("presence: %w", ErrAway)
	}
	return nil
}

// open returns a channel's account, locked.
func (l *Ledger) open(t proxy.Topic) *account {
	l.mu.Lock()
	a := l.topics[t]
	if a == nil {
		a = &account{sockets: make(map[socket]*proxy.Member), left: make(map[socket]bool)}
		l.topics[t] = a
	}
	a.holds++
	l.mu.Unlock()
	a.mu.Lock()
	return a
}

// close gives an account back.
func (l *Ledger) close(t proxy.Topic, a *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.holds--; a.holds == 0 && len(a.sockets) == 0 && a.count == 0 && a.told == 0 {
		delete(l.topics, t)
	}
	a.mu.Unlock()
}

// all returns every channel on which this node has something.
func (l *Ledger) all() []proxy.Topic {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]proxy.Topic, 0, len(l.topics))
	for t := range l.topics {
		list = append(list, t)
	}
	return list
}

// claim makes it known that this node has entries of an app. The caller has
// epoch.
func (l *Ledger) claim(ctx context.Context, app string) error {
	l.mu.Lock()
	claimed := l.apps[app]
	l.mu.Unlock()
	if claimed {
		return nil
	}
	n, err := claimScript.Run(ctx, l.client, []string{l.keys.dead(l.lease), l.keys.apps(l.lease)}, app).Int()
	if err := l.judge(n, err); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apps[app] = true
	return nil
}

// judge turns the answer of a script into an error, and has Run look after it.
func (l *Ledger) judge(n int, err error) error {
	if err == nil && n != -1 {
		return nil
	}
	select {
	case l.failed <- struct{}{}:
	default: // it will look anyway
	}
	if err == nil {
		err = ErrAway // this node's lease is lost
	}
	return err
}
