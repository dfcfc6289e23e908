package memory

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/backendtest"
	"github.com/offramp/offramp/proxy/protocol"
)

func TestBackend(t *testing.T) {
	backendtest.Run(t, func(*testing.T) []backendtest.Node {
		return []backendtest.Node{{Broker: NewBroker(), Presence: NewPresence(), Occupancy: NewOccupancy().Node()}}
	})
}

func TestPublishWaitsForRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBroker()
		ctx, cancel := context.WithCancel(t.Context())
		delivered := 0
		done := make(chan error)
		go func() { done <- b.Publish(ctx, &proxy.Event{}) }()
		synctest.Wait()
		go func() { done <- b.Run(ctx, func(*proxy.Event) { delivered++ }) }()
		if err := <-done; err != nil || delivered != 1 {
			t.Errorf("Publish = %v with %d delivered, want 1", err, delivered)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		if err := b.Publish(t.Context(), &proxy.Event{}); !errors.Is(err, ErrStopped) || delivered != 1 {
			t.Errorf("Publish after Run = %v with %d delivered, want %v", err, delivered, ErrStopped)
		}
	})
}

func TestEventsOfATopicAreDeliveredOneByOne(t *testing.T) {
	b := NewBroker()
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = b.Run(ctx, func(*proxy.Event) {
			if !mu.TryLock() {
				t.Error("two deliveries at once")
				return
			}
			defer mu.Unlock()
		})
	}()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				_ = b.Publish(ctx, &proxy.Event{Topic: proxy.Topic{App: "a", Channel: "c"}})
			}
		})
	}
	wg.Wait()
}

func TestEmptyRoomsAreForgotten(t *testing.T) {
	p := NewPresence()
	topic := proxy.Topic{App: "a", Channel: "presence-a"}
	for _, id := range []protocol.SocketID{"1.1", "1.2"} {
		if _, _, err := p.Join(t.Context(), topic, proxy.Member{UserID: "u"}, id, 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []protocol.SocketID{"1.1", "1.2"} {
		if _, err := p.Leave(t.Context(), topic, "u", id); err != nil {
			t.Fatal(err)
		}
	}
	for i := range p.shards {
		if n := len(p.shards[i].rooms); n != 0 {
			t.Errorf("shard %d: %d rooms are left", i, n)
		}
	}
}

func TestReturnedMembersNeverChange(t *testing.T) {
	p := NewPresence()
	topic := proxy.Topic{App: "a", Channel: "presence-a"}
	join := func(user string, id protocol.SocketID) []proxy.Member {
		members, _, err := p.Join(t.Context(), topic, proxy.Member{UserID: user}, id, 10)
		if err != nil {
			t.Fatal(err)
		}
		return members
	}
	join("a", "1.1")
	two := join("b", "1.2")
	join("c", "1.3")
	if _, err := p.Leave(t.Context(), topic, "a", "1.1"); err != nil {
		t.Fatal(err)
	}
	join("d", "1.4")
	if len(two) != 2 || two[0].UserID != "a" || two[1].UserID != "b" {
		t.Errorf("an earlier answer is now %v, want a and b", two)
	}
}
