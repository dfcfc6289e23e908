package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Node is one node's side of a backend.
type Node struct {
	Broker    proxy.Broker
	Presence  proxy.Presence
	Occupancy proxy.Occupancy
}

// Run tests a backend. open returns the nodes of a new gateway, with nothing
// subscribed and nobody present; it is called once for each test.
func Run(t *testing.T, open func(t *testing.T) []Node) {
	for name, test := range map[string]func(*testing.T, []Node){
		"broker/one order for every node":                       oneOrder,
		"broker/each event once":                                once,
		"broker/every field arrives":                            fields,
		"broker/the publishing node needs no interest":          publisherSees,
		"broker/no events after unsubscribing":                  unsubscribed,
		"broker/topics are apart":                               topicsApart,
		"broker/an ended context ends a publish":                endedContext,
		"cache/the last event, on every node":                   lastIsKept,
		"cache/what servers publish, and nothing else":          onlyServersAreKept,
		"cache/the last in everybody's order":                   keptInOrder,
		"cache/channels are apart":                              keptForAll,
		"presence/first and last socket of a user":              firstAndLast,
		"presence/members in order of arrival":                  arrivalOrder,
		"presence/the first information stays":                  firstInfo,
		"presence/a limit of users, not of sockets":             limit,
		"presence/no more than the limit, however many at once": limitAtOnce,
		"presence/exactly one is first, exactly one last":       firstAtOnce,
		"presence/channels are apart":                           channelsApart,
		"presence/leaving twice":                                leaveTwice,
		"occupancy/first and last subscription":                 occupied,
		"occupancy/the channels of an app":                      occupiedChannels,
		"occupancy/exactly one is first, exactly one last":      occupiedAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// patience is how long an event may take from node to node.
const patience = 10 * time.Second

// receiver runs a node's broker and passes on what it delivers.
type receiver struct {
	t      *testing.T
	broker proxy.Broker
	events chan *proxy.Event
}

// receive runs the brokers of all nodes until the test ends.
func receive(t *testing.T, nodes []Node) []receiver {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	receivers := make([]receiver, len(nodes))
	done := make(chan error, len(nodes))
	for i, n := range nodes {
		r := receiver{t: t, broker: n.Broker, events: make(chan *proxy.Event, 4096)}
		receivers[i] = r
		go func() { done <- n.Broker.Run(ctx, func(ev *proxy.Event) { r.events <- ev }) }()
	}
	t.Cleanup(func() {
		cancel()
		for range nodes {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	})
	return receivers
}

// next returns the next event that the node delivers.
func (r receiver) next() *proxy.Event {
	r.t.Helper()
	select {
	case ev := <-r.events:
		return ev
	case <-time.After(patience):
		r.t.Fatalf("no event within %v", patience)
		return nil
	}
}

func (r receiver) publish(ev *proxy.Event) {
	r.t.Helper()
	if err := r.broker.Publish(r.t.Context(), ev); err != nil {
		r.t.Errorf("Publish: %v", err)
	}
}

func (r receiver) subscribe(topic proxy.Topic) {
	r.t.Helper()
	if err := r.broker.Subscribe(r.t.Context(), topic); err != nil {
		r.t.Fatalf("Subscribe: %v", err)
	}
}

func (r receiver) unsubscribe(topic proxy.Topic) {
	r.t.Helper()
	if err := r.broker.Unsubscribe(r.t.Context(), topic); err != nil {
		r.t.Fatalf("Unsubscribe: %v", err)
	}
}
