package translatortest_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// bus is a backend in memory, which several sessions share.
type bus struct {
	mu       sync.Mutex
	away     bool
	slow     bool
	watchers map[protocol.ChannelName]map[*memorySession]translators.Observer
	known    map[proxy.EventID]bool
	members  map[protocol.ChannelName][]proxy.Member
	rates    map[protocol.ChannelName][]time.Time
}

func newBus() *bus {
	return &bus{
		watchers: map[protocol.ChannelName]map[*memorySession]translators.Observer{}, known: map[proxy.EventID]bool{},
		members: map[protocol.ChannelName][]proxy.Member{}, rates: map[protocol.ChannelName][]time.Time{},
	}
}

// outage takes the bus away.
func (b *bus) outage(tell bool) func() (func(), error) {
	return func() (func(), error) {
		b.set(true, translators.StateDetached, tell)
		return func() { b.set(false, translators.StateAttached, tell) }, nil
	}
}

// slowed makes the bus slow.
func (b *bus) slowed() (func(), error) {
	b.dawdle(true)
	return func() { b.dawdle(false) }, nil
}

func (b *bus) dawdle(slow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slow = slow
}

func (b *bus) isSlow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slow
}

func (b *bus) set(away bool, state translators.State, tell bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
	for _, watchers := range b.watchers {
		for _, o := range watchers {
			if tell {
				o.State(translators.ChannelState{State: state, From: time.Now()})
			}
		}
	}
}

const (
	maxData = 16 << 10
	rate    = 200
)

// memory is a translator to a bus. Its defect, if it has one, breaks one rule.
type memory struct {
	bus    *bus
	defect string
}

type memoryConfig struct {
	Key proxy.Secret `setting:"key,required" doc:"Any text."`
}

func (m memory) Describe() translators.Description {
	features := map[translators.Feature]translators.Fidelity{}
	for _, f := range translators.Features() {
		features[f] = translators.Fidelity{Level: translators.Exact}
	}
	limits := translators.Limits{PayloadBytes: maxData}
	if m.defect == "throttles" || m.defect == "loses what is over the rate" {
		limits.PerChannelPerSecond = rate
	}
	if m.defect == "declares what it lacks" {
		features[translators.FeaturePresence] = translators.Fidelity{}
	}
	return translators.Description{
		Name: "memory", Version: "1.0.0", Settings: translators.SchemaOf(memoryConfig{}), Features: features, Limits: limits,
		Ordering: translators.OrderPerChannel, Guarantee: translators.EffectivelyOnce, Echo: translators.EchoNative,
	}
}

func (m memory) Open(_ context.Context, b translators.Binding) (translators.Session, error) {
	var c memoryConfig
	if err := b.Settings.Decode(&c); err != nil {
		return nil, err
	}
	if m.defect == "leaves goroutines" {
		for range 3 {
			go func() { select {} }()
		}
	}
	return &memorySession{memory: m, role: b.Role, gateway: b.Gateway}, nil
}

type memorySession struct {
	memory
	role    proxy.Role
	gateway string
	late    []translators.Envelope // acknowledged and not yet published
}

func (s *memorySession) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	if s.defect == "swaps events" && len(batch) > 1 {
		i := rand.IntN(len(batch) - 1)
		batch[i], batch[i+1] = batch[i+1], batch[i]
	}
	results := make([]translators.Result, len(batch))
	for i, e := range batch {
		if s.defect == "is slow" {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		if s.bus.isSlow() {
			if s.defect == "gives up on a slow backend" {
				results[i] = translators.OK() // "it will surely arrive"
				continue
			}
			time.Sleep(20 * time.Millisecond)
		}
		results[i] = s.publish(e)
		if s.bus.isSlow() && s.defect == "publishes again when it is slow" {
			s.again(e)
		}
		if results[i].Code == translators.CodeTransient {
			copy(results[i:], translators.RefuseAll(len(batch)-i, translators.CodeTransient, errors.New("away")))
			break
		}
	}
	if s.defect == "forgets a result" && len(results) > 1 {
		return results[1:]
	}
	return results
}

func (s *memorySession) publish(e translators.Envelope) translators.Result {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	switch {
	case s.bus.away && s.defect != "acknowledges during an outage":
		return translators.Refuse(translators.CodeTransient, errors.New("away"))
	case len(e.Data) > maxData && s.defect != "cuts what is too large":
		return translators.Result{Code: translators.CodeRejectedSize}
	case s.bus.known[e.ID] && s.defect != "delivers repeats":
		return translators.Result{Code: translators.CodeDuplicate}
	case s.Describe().Limits.PerChannelPerSecond > 0 && s.overRate(e.Channel):
		if s.defect == "throttles" {
			return translators.Result{Code: translators.CodeThrottled}
		}
		return translators.OK()
	case s.defect == "acknowledges too early":
		s.late = append(s.late, e)
		return translators.OK()
	}
	s.bus.known[e.ID] = true
	s.deliver(e)
	return translators.OK()
}

// again delivers an event as a new one.
func (s *memorySession) again(e translators.Envelope) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.deliver(e)
}

// overRate is called with the bus's mu held.
func (s *memorySession) overRate(channel protocol.ChannelName) bool {
	now := time.Now()
	recent := slices.DeleteFunc(s.bus.rates[channel], func(t time.Time) bool { return now.Sub(t) > time.Second })
	s.bus.rates[channel] = append(recent, now)
	return len(recent) >= rate
}

// deliver is called with the bus's mu held.
func (s *memorySession) deliver(e translators.Envelope) {
	switch s.defect {
	case "re-encodes data":
		e.Data = []byte(strings.ToValidUTF8(string(e.Data), "?"))
	case "forgets the sender":
		e.UserID = ""
	case "folds case":
		e.Channel = protocol.ChannelName(strings.ToLower(string(e.Channel)))
	}
	for session, o := range s.bus.watchers[e.Channel] {
		if session == s && s.role == proxy.RoleBridge && s.defect != "echoes" {
			continue
		}
		o.Deliver(e)
	}
}

func (s *memorySession) Subscribe(_ context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	key := channel
	if s.defect == "folds case" {
		key = protocol.ChannelName(strings.ToLower(string(channel)))
	}
	add := func() {
		s.bus.mu.Lock()
		defer s.bus.mu.Unlock()
		if s.bus.watchers[key] == nil {
			s.bus.watchers[key] = map[*memorySession]translators.Observer{}
		}
		s.bus.watchers[key][s] = o
	}
	if s.defect == "confirms too early" {
		time.AfterFunc(300*time.Millisecond, add)
	} else {
		add()
	}
	return func() {
		s.bus.mu.Lock()
		defer s.bus.mu.Unlock()
		delete(s.bus.watchers[key], s)
	}, nil
}

func (s *memorySession) SetMembers(_ context.Context, channel protocol.ChannelName, want []proxy.Member) error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.defect == "never removes members" {
		want = append(s.bus.members[channel], want...)
	}
	s.bus.members[channel] = want
	return nil
}

func (s *memorySession) Query(_ context.Context, channel protocol.ChannelName) (translators.Occupancy, error) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	members := map[string]proxy.Member{}
	for _, m := range s.bus.members[channel] {
		members[m.UserID] = m
	}
	return translators.Occupancy{Members: slices.Collect(maps.Values(members))}, nil
}

func (s *memorySession) Preview(e translators.Envelope) (translators.Native, []translators.Loss) {
	destination := string(e.Channel)
	if s.defect == "previews all alike" {
		destination = "everywhere"
	}
	return translators.Native{Destination: destination, Body: e.Data}, nil
}

func (s *memorySession) Close(context.Context) error { return nil }

var (
	_ translators.Subscriber = (*memorySession)(nil)
	_ translators.Presencer  = (*memorySession)(nil)
	_ translators.Querier    = (*memorySession)(nil)
	_ translators.Previewer  = (*memorySession)(nil)
)
