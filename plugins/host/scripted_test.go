package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// scripted is a backend within its own process, whose name says how it
// behaves.
type scripted struct{ name string }

type scriptedConfig struct {
	Secret string `setting:"secret"`
	URL    string `setting:"url"`
	Prefix string `setting:"prefix"`
}

func (s scripted) Describe() translators.Description {
	return translators.Description{
		Name: "scripted", Version: "1.0.0", Settings: translators.SchemaOf(scriptedConfig{}),
		Features: map[translators.Feature]translators.Fidelity{translators.FeatureSubscribe: {Level: translators.Exact}},
	}
}

func (s scripted) Open(_ context.Context, b translators.Binding) (translators.Session, error) {
	switch s.name {
	case "refuses":
		return nil, errors.New("the backend is not there")
	case "chatty":
		fmt.Println("a print to standard output")
		fmt.Fprintln(os.Stderr, "the secret is", b.Settings["secret"])
		b.Log.Info().Any("secret", b.Settings["secret"]).Msg("opened")
	}
	return &scriptedSession{name: s.name, observers: map[protocol.ChannelName]translators.Observer{}}, nil
}

type scriptedSession struct {
	name string

	mu        sync.Mutex
	observers map[protocol.ChannelName]translators.Observer
}

func (s *scriptedSession) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	results := make([]translators.Result, len(batch))
	for i, e := range batch {
		results[i] = s.publish(ctx, e)
	}
	return results
}

func (s *scriptedSession) publish(ctx context.Context, e translators.Envelope) translators.Result {
	switch {
	case s.name == "stuck":
		<-ctx.Done()
		return translators.Refuse(translators.CodeTransient, ctx.Err())
	case e.Event == "panic":
		panic("a bug in the translator")
	case e.Event == "throttle":
		return translators.Result{Code: translators.CodeThrottled}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.observers[e.Channel]
	if !ok {
		return translators.OK()
	}
	if s.name == "reflects" { // it shows everything to everybody, and no more of it than this
		e = translators.Envelope{Event: e.Event, Data: e.Data}
	}
	o.Deliver(e)
	if e.Event == "twice" {
		o.Deliver(e)
	}
	return translators.OK()
}

func (s *scriptedSession) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	select {
	case <-time.After(20 * time.Millisecond): // a backend takes its time
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observers[channel] = o
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.observers, channel)
	}, nil
}

// Limits implements translators.Limited.
func (s *scriptedSession) Limits() translators.Limits {
	if s.name == "narrow" {
		return translators.Limits{PayloadBytes: 10}
	}
	return translators.Limits{}
}

func (*scriptedSession) Close(context.Context) error { return nil }

// bare is a backend whose messages have no room for mirror id and origin.
type bare struct{ translators.Translator }

func (b bare) Describe() translators.Description {
	d := b.Translator.Describe()
	delete(d.Features, translators.FeatureIdentity)
	return d
}

func (b bare) Open(ctx context.Context, bind translators.Binding) (translators.Session, error) {
	s, err := b.Translator.Open(ctx, bind)
	if err != nil {
		return nil, err
	}
	return bareSession{s, s.(translators.Subscriber)}, nil
}

type bareSession struct {
	translators.Session
	subscriber translators.Subscriber
}

func (s bareSession) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	return s.subscriber.Subscribe(ctx, channel, bareObserver{o})
}

type bareObserver struct{ translators.Observer }

func (o bareObserver) Deliver(e translators.Envelope) {
	o.Observer.Deliver(translators.Envelope{Event: e.Event, Data: e.Data})
}
