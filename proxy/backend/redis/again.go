package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Redis may die with what it has accepted: with its log, and with what it has
// not sent to every node yet. So a node keeps what it has published of late,
// and publishes it once more when Redis has become another server. All nodes
// keep the ids of what has come, and pass over what comes once more.
const (
	recentFor   = 5 * time.Second // before its link broke
	recentMost  = 4096            // events
	recentBytes = 4 << 20
	comeMost    = 1 << 16          // ids of events that have come
	againFor    = 10 * time.Second // in which events may come once more
)

// recent is what a node has published of late, oldest first. Guarded by the
// broker's mu.
type recent struct {
	list  []accepted
	bytes int
}

type accepted struct {
	event *proxy.Event
	at    time.Time
}

// add notes an event that Redis has accepted. What cache channels keep is made
// up for by itself, and so are news between engines.
func (r *recent) add(ev *proxy.Event, now time.Time) {
	if ev.Keeps() || ev.Publisher == proxy.ByEngine {
		return
	}
	r.list, r.bytes = append(r.list, accepted{ev, now}), r.bytes+len(ev.Data)
	drop := 0
	for r.bytes > recentBytes || len(r.list)-drop > recentMost || now.Sub(r.list[drop].at) > recentFor {
		r.bytes -= len(r.list[drop].event.Data)
		r.list[drop].event = nil
		drop++
	}
	r.list = r.list[drop:]
}

// takeRecent returns what was published shortly before the link broke.
func (b *Broker) takeRecent() (list []*proxy.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.recent.list {
		if b.broke.Sub(a.at) < recentFor {
			list = append(list, a.event)
		}
	}
	b.recent = recent{}
	return list
}

// publishAgain publishes that once more if Redis has become another server.
func (b *Broker) publishAgain(ctx context.Context, l *link) error {
	if !b.standing.changed(l.server) {
		return nil
	}
	list := b.takeRecent()
	for i, ev := range list {
		if err := b.send(ctx, ev, appendHead(nil, ev), ""); err != nil {
			b.mu.Lock()
			for _, ev := range list[i:] {
				b.recent.add(ev, b.broke)
			}
			b.mu.Unlock()
			return fmt.Errorf("publish once more: %w", err)
		}
	}
	return nil
}

// changed reports whether the server is another one than that of the last link.
func (s *standing) changed(server string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole != 0 && s.server != server
}

// come are the ids of the events that have come last. Guarded by the standing's mu.
type come struct {
	ids   []proxy.EventID // a ring
	next  int
	again map[proxy.EventID]bool // those in it, while events may come once more
	until time.Time              // when that ends
}

// expect prepares for events that come once more.
func (s *standing) expect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.come.again = make(map[proxy.EventID]bool, len(s.come.ids))
	for _, id := range s.come.ids {
		s.come.again[id] = true
	}
	s.come.until = time.Now().Add(againFor)
}

// note reports whether an event comes for the first time.
func (c *come) note(id proxy.EventID) bool {
	if c.again != nil {
		if time.Now().After(c.until) {
			c.again = nil
		} else if c.again[id] {
			return false
		} else {
			c.again[id] = true
		}
	}
	if len(c.ids) < comeMost {
		c.ids = append(c.ids, id)
	} else {
		c.ids[c.next] = id
		c.next = (c.next + 1) % comeMost
	}
	return true
}
