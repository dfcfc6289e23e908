// Command sink is a translator plugin with no backend behind it, for measuring
// what mirroring costs the gateway and what a plugin that misbehaves costs its
// clients. Its one setting says how it behaves.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// config is the plugin's settings.
type config struct {
	Mode string `setting:"mode" doc:"How it behaves." enum:"well,slow,hung,frozen,killed,greedy" default:"well"`
}

const (
	// slowCall is how long each call takes in mode slow.
	slowCall = 200 * time.Millisecond
	// mischief is when, after its first event, it freezes or dies.
	mischief = 700 * time.Millisecond
)

type sink struct{}

// Describe implements translators.Translator.
func (sink) Describe() translators.Description {
	exact := translators.Fidelity{Level: translators.Exact}
	return translators.Description{
		Name: "sink", Version: "1.0.0", Settings: translators.SchemaOf(config{}),
		Features: map[translators.Feature]translators.Fidelity{
			translators.FeatureEvents: exact, translators.FeatureSubscribe: exact, translators.FeatureIdentity: exact,
		},
		Ordering: translators.OrderPerChannel,
	}
}

// Open implements translators.Translator.
func (sink) Open(_ context.Context, b translators.Binding) (translators.Session, error) {
	var c config
	if err := b.Settings.Decode(&c); err != nil {
		return nil, err
	}
	return &session{mode: c.Mode, observers: map[protocol.ChannelName]translators.Observer{}}, nil
}

type session struct {
	mode  string
	first sync.Once

	mu        sync.RWMutex
	observers map[protocol.ChannelName]translators.Observer
}

// Publish implements translators.Session. What is observed is delivered.
func (s *session) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	s.first.Do(s.misbehave)
	switch s.mode {
	case "hung":
		select {} // whatever ctx says
	case "slow":
		select {
		case <-time.After(slowCall):
		case <-ctx.Done():
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	results := make([]translators.Result, len(batch))
	for i, e := range batch {
		if o := s.observers[e.Channel]; o != nil {
			o.Deliver(e)
		}
		results[i] = translators.OK()
	}
	return results
}

// misbehave begins what goes wrong beside the calls.
func (s *session) misbehave() {
	signal := map[string]syscall.Signal{"frozen": syscall.SIGSTOP, "killed": syscall.SIGKILL}[s.mode]
	if signal != 0 {
		time.AfterFunc(mischief, func() { _ = syscall.Kill(os.Getpid(), signal) })
	}
	if s.mode == "greedy" {
		go func() {
			for { //nolint:staticcheck // it is to burn a CPU
			}
		}()
	}
}

// Subscribe implements translators.Subscriber.
func (s *session) Subscribe(_ context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observers[channel] = o
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.observers, channel)
	}, nil
}

// Close implements translators.Session.
func (*session) Close(context.Context) error { return nil }

func main() {
	if err := plugins.Serve(sink{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
