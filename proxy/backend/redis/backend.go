package redis

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
)

// Settings are what a Backend is made of.
type Settings struct {
	URL    proxy.Secret  // redis://user:password@host:port/db, or rediss:// for TLS
	Prefix string        // in front of every key and pub/sub channel
	Node   uint64        // the engine's: events are known by it
	Lease  time.Duration // 0: DefaultLease
	// Fenced is called when the others have taken this node for dead: what its
	// clients were shown since may be untrue.
	Fenced func()
	// Changed is called for each change that is not the answer to a call.
	Changed func(proxy.Change)
	// Returned is called when events or presence may have been missed, and are
	// there again.
	Returned func()
	Log      zerolog.Logger
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
	// Departures are held back for the webhooks of all nodes.
	Departures *Departures

	client *redis.Client
}

// New returns a node's backend. It connects to nothing.
func New(s Settings) (*Backend, error) {
	options, err := redis.ParseURL(s.URL.Reveal())
	if err != nil {
		return nil, errors.New("redis: the URL cannot be used: write redis://host:6379/0, or rediss:// for TLS") // the cause repeats the password
	}
	options.MaxRetries = -1 // a publish that was tried twice may arrive twice
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = timeout, timeout, timeout
	options.ContextTimeoutEnabled = true
	options.Protocol = 2
	options.DisableIdentity = true
	if s.Lease == 0 {
		s.Lease = DefaultLease
	}
	client := redis.NewClient(options)
	return &Backend{Broker: newBroker(s, client), Ledger: newLedger(s, client), Departures: &Departures{keys{s.Prefix}, client}, client: client}, nil
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
