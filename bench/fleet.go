package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// dialLimit is how many connections may be on their way at once while a test
// is being set up. Storms ignore it.
const dialLimit = 128

// fleet is all clients of a test.
type fleet struct {
	loop    *loop
	dialect dialect
	to      unix.Sockaddr
	host    string
	ledger  *ledger // nil: the test publishes nothing
	clients []*client

	scratch []byte // for one text
	frame   []byte // for one frame

	upgraded uint64 // handshakes so far
	frames   uint64 // text frames so far
	closed   int    // connections lost after they were ready
	retries  int    // connections lost before that, and dialled again
	failure  error  // the first of those closed, or of the server's refusals

	firstRetry error

	redial []*client // to be dialled again

	// onMember, when set, is told of every change in a client's member count.
	onMember func(*client)
	// onReady, when set, is told when a client's last subscription is confirmed.
	onReady func(*client)
}

func (f *fleet) grow(n int, channels func(i int) []string) {
	for i := len(f.clients); n > 0; i, n = i+1, n-1 {
		f.clients = append(f.clients, &client{
			fleet: f, index: i, state: closed, channels: channels(i), user: fmt.Sprintf("u%d", i),
		})
	}
}

func (f *fleet) settled(c *client) {
	if c.ready() && f.onReady != nil {
		f.onReady(c)
	}
}

func (f *fleet) member(c *client) {
	if f.onMember != nil {
		f.onMember(c)
	}
}

func (f *fleet) note(err error) {
	if f.failure == nil {
		f.failure = err
	}
}

// trouble is the first failure, or says that there was none.
func (f *fleet) trouble() error {
	switch {
	case f.failure != nil:
		return f.failure
	case f.firstRetry != nil:
		return f.firstRetry
	}
	return errNone
}

func (f *fleet) lost(c *client, early bool, err error) {
	if early {
		f.again(c, err)
		return
	}
	if c.paused {
		return
	}
	f.closed++
	f.note(fmt.Errorf("client %d: %w", c.index, err))
}

// connect opens the given clients, at most limit at once (0: all), and waits
// until each has its subscriptions. The histogram, when given, takes each
// one's microseconds from the start.
func (f *fleet) connect(ctx context.Context, clients []*client, limit int, patience time.Duration, took *hdrhistogram.Histogram) error {
	if limit == 0 {
		limit = len(clients)
	}
	start, ready, next := f.loop.clock(), 0, 0
	before := f.onReady
	f.onReady = func(c *client) {
		ready++
		if took != nil {
			_ = took.RecordValue((f.loop.now - start) / 1000)
		}
	}
	defer func() { f.onReady = before }()
	enough := f.retries + 3*len(clients) // a server that refuses is not worth waiting for
	err := f.loop.run(ctx, patience, func() (bool, int64) {
		if f.retries > enough {
			return true, 0
		}
		for next-ready < limit && next < len(clients) {
			f.dial(clients[next])
			next++
		}
		again := f.redial
		f.redial = nil
		for _, c := range again {
			f.dial(c)
		}
		return ready == len(clients), 0
	})
	if err == nil && ready < len(clients) {
		err = ErrRefused
	}
	if err != nil {
		return fmt.Errorf("connect clients: %d of %d ready (%d retries, first trouble: %w): %w",
			ready, len(clients), f.retries, f.trouble(), err)
	}
	return nil
}

func (f *fleet) dial(c *client) {
	if err := c.connect(); err != nil {
		f.again(c, err)
	}
}

// again lets a client that did not get as far as its subscriptions try once more.
func (f *fleet) again(c *client, err error) {
	f.retries++
	f.redial = append(f.redial, c)
	if f.firstRetry == nil {
		f.firstRetry = err
	}
}

// dropAll ends every connection at once with a reset.
func (f *fleet) dropAll() {
	for _, c := range f.clients {
		if c.state != closed {
			c.drop()
		}
	}
}

// subscribeAll gives every client further channels and waits for them.
func (f *fleet) subscribeAll(ctx context.Context, channels func(i int) []string, patience time.Duration) error {
	const inFlight = 64 // clients with a subscription under way
	next, busy := 0, 0
	f.onReady = func(*client) { busy-- }
	defer func() { f.onReady = nil }()
	err := f.loop.run(ctx, patience, func() (bool, int64) {
		for busy < inFlight && next < len(f.clients) {
			c := f.clients[next]
			for _, channel := range channels(next) {
				c.subscribe(channel)
			}
			next++
			busy++
		}
		return next == len(f.clients) && busy == 0, 0
	})
	if err != nil {
		return fmt.Errorf("subscribe further channels: %w", err)
	}
	return nil
}
