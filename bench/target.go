package bench

import (
	"fmt"
	"time"
)

// Target is the server under test. The generator speaks plain TCP only:
// encryption would measure two TLS stacks.
type Target struct {
	Name    string // printed with results
	Dialect Dialect
	Addr    string // host:port of the WebSocket listener
	// APIAddr is host:port of the HTTP API; empty: Addr.
	APIAddr    string
	PathPrefix string
	AppID      string
	Key        string // Centrifugo: the HTTP API's key
	Secret     string
	// PID is the server's process on this machine, for CPU, memory and
	// descriptors; 0: not measured.
	PID int
}

func (t Target) apiAddr() string {
	if t.APIAddr != "" {
		return t.APIAddr
	}
	return t.Addr
}

// Load says what to do to a target. Fields that a test does not use are ignored.
type Load struct {
	Test        string        // one of Tests
	Subscribers int           // clients
	Channels    int           // channels test: channels, spread over the clients
	Publishers  int           // HTTP connections, each with one request in flight
	Senders     int           // clients-events test: clients that send
	Window      int           // events not delivered to everybody yet
	Rate        float64       // events per second (rate and slow tests)
	Payload     int           // bytes of an event's data
	Batch       int           // events a request
	Extra       int           // idle test: further subscriptions of each client
	Warmup      time.Duration // before measuring
	Duration    time.Duration // of measuring
	Still       time.Duration // how long a server is left alone before its memory is read
	Patience    time.Duration // for everything that is waited for
	Spin        bool          // never sleep: for a generator with a CPU of its own
}

// DefaultLoad returns the load of the test as the side-by-side table runs it.
func DefaultLoad(test string) (Load, error) {
	l := Load{
		Test: test, Subscribers: 1000, Publishers: 8, Window: 16, Payload: 128, Batch: 1,
		Warmup: time.Second, Duration: 3 * time.Second, Still: 2 * time.Second, Patience: 60 * time.Second,
	}
	switch test {
	case "fanout":
	case "rate":
		l.Rate = 50
	case "client-events":
		l.Subscribers, l.Senders, l.Window = 100, 8, 32
	case "channels":
		l.Subscribers, l.Channels, l.Publishers, l.Window = 2000, 2000, 16, 32
	case "publish":
		l.Publishers = 16
	case "idle":
		l.Subscribers, l.Extra, l.Duration = 10_000, 9, 5*time.Second
	case "presence":
		l.Subscribers = 500
	case "storm":
		l.Subscribers = 5000
	case "slow":
		// Enough to fill the kernel's buffers of some megabytes, and more.
		l.Rate, l.Payload, l.Duration = 100, 4096, 15*time.Second
	case "churn":
		l.Subscribers, l.Duration = 1000, 10*time.Second
	default:
		return l, fmt.Errorf("bench: unknown test %q; known are %v", test, Tests())
	}
	return l, nil
}

// Tests lists the names of all tests.
func Tests() []string {
	return []string{
		"fanout", "rate", "client-events", "channels", "publish",
		"idle", "presence", "storm", "slow", "churn",
	}
}

func (l Load) validate() error {
	switch {
	case l.Subscribers < 1 || l.Publishers < 1 || l.Window < 1 || l.Batch < 1 || l.Duration <= 0 || l.Patience <= 0:
		return fmt.Errorf("bench: subscribers, publishers, window, batch, duration and patience must be positive")
	case l.Payload < MinPayload:
		return fmt.Errorf("bench: a payload of %d bytes cannot carry a message number; the least is %d", l.Payload, MinPayload)
	case l.Window*l.Batch > ringSize/2:
		return fmt.Errorf("bench: a window of %d events is too wide; the most is %d", l.Window*l.Batch, ringSize/2)
	case (l.Test == "rate" || l.Test == "slow") && l.Rate <= 0:
		return fmt.Errorf("bench: the %s test needs a positive rate", l.Test)
	case l.Test == "client-events" && (l.Senders < 1 || l.Senders > l.Subscribers):
		return fmt.Errorf("bench: senders must be between 1 and the number of subscribers")
	case l.Test == "channels" && l.Channels < l.Subscribers:
		return fmt.Errorf("bench: the channels test needs at least one channel for each subscriber")
	}
	return nil
}
