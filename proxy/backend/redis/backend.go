package redis

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
)

// Settings are what a Backend is made of.
type Settings struct {
	Server
	Prefix string        // in front of every key and pub/sub channel
	Node   uint64        // the engine's: events are known by it
	Lease  time.Duration // 0: DefaultLease
	// Fenced is called when the others have taken this node for dead: what its
	// clients were shown since may be untrue. When it returns, they are on no
	// channel any more.
	Fenced func()
	// Changed is called for each change that is not the answer to a call.
	Changed func(proxy.Change)
	// Told reports whether an app has webhooks: what is there when Redis loses
	// its memory was told to their receivers. Nil: no app has.
	Told func(app string) bool
	// Returned is called when events or presence may have been missed, and are
	// there again.
	Returned func()
	// Missed is called with the apps of which events may have been missed here
	// for good: their clients should begin anew.
	Missed func(apps []string)
	Log    zerolog.Logger
}

// DefaultLease is how long a node that says nothing is taken to live.
const DefaultLease = 10 * time.Second

// timeout bounds each exchange with Redis.
const timeout = 2 * time.Second

// ErrAway is returned while Redis cannot be reached, or what it knows is not
// complete yet.
var ErrAway = errors.New("redis: not reachable, or not complete yet after it was away")

// Backend is a node's connection to the others. The engine runs its Broker;
// Ledger.Run runs beside it and must end after it.
type Backend struct {
	Broker *Broker
	Ledger *Ledger
	// Told is what webhook receivers were told by all nodes.
	Told *Told
	// Rates are shared by all nodes.
	Rates *Rates
	// Owners are the nodes that speak for channels of backends.
	Owners *Owners
	// Moves are the moves of apps from stage to stage, on all nodes.
	Moves *Moves

	client client
}

// New returns a node's backend. It connects to nothing.
func New(s Settings) (*Backend, error) {
	client, err := newClient(s.Server)
	if err != nil {
		return nil, err
	}
	if s.Lease == 0 {
		s.Lease = DefaultLease
	}
	broker := newBroker(s, client)
	ledger := newLedger(s, client)
	ledger.moved = broker.relink
	ledger.receivers = newTold(s, client, ledger)
	k := keys{s.Prefix}
	return &Backend{
		Broker: broker, Ledger: ledger, Told: ledger.receivers, Rates: &Rates{k, client}, Moves: &Moves{k, client},
		Owners: &Owners{k, client, ledger}, client: client,
	}, nil
}

// Healthy returns why the node is not one with the others; nil if it is.
func (b *Backend) Healthy() error {
	return errors.Join(b.Broker.Healthy(), b.Ledger.Healthy())
}

// Close releases the connections once both parts have ended.
func (b *Backend) Close() error {
	if err := b.client.Close(); err != nil {
		return fmt.Errorf("redis: close: %w", err)
	}
	return nil
}
