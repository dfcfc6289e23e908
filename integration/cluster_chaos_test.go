package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// publication is an event of a drill, and what its publisher knows of it.
type publication struct {
	began, ended time.Time
	node         int
	err          error
}

// publisher publishes to the news, on one node after the other.
type publisher struct {
	world  *world
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	list []publication
}

func (w *world) publish(every time.Duration) *publisher {
	ctx, cancel := context.WithCancel(context.Background())
	p := &publisher{world: w, cancel: cancel}
	w.t.Cleanup(p.stop)
	for node := range w.nodes {
		p.done.Go(func() { p.run(ctx, node, every) })
	}
	return p
}

func (p *publisher) run(ctx context.Context, node int, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	server := serverOf(p.world.nodes[node])
	server.HTTPClient = &http.Client{Timeout: 8 * time.Second}
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if !slices.Contains(p.world.serving(), node) {
			continue
		}
		p.mu.Lock()
		n := len(p.list)
		p.list = append(p.list, publication{began: time.Now(), node: node, err: context.Canceled})
		p.mu.Unlock()
		err := server.Trigger(news, "news", strconv.Itoa(n))
		p.mu.Lock()
		p.list[n].ended, p.list[n].err = time.Now(), err
		p.mu.Unlock()
	}
}

func (p *publisher) stop() {
	p.cancel()
	p.done.Wait()
}

// sessions returns all connections that heard the news, as they are now.
func (p *publisher) sessions() (all []clientSession) {
	for _, r := range p.world.all() {
		if !slices.Contains(r.channels, news) {
			continue
		}
		r.mu.Lock()
		for _, s := range r.sessions {
			all = append(all, clientSession{node: s.node, heard: s.heard, news: slices.Clone(s.news), ended: s.ended, code: s.code})
		}
		r.mu.Unlock()
	}
	return all
}

// missing counts the accepted events that did not come to a client that
// stayed, and reports the first of them.
func (p *publisher) missing(sessions []clientSession, cutOff []int, report func(string, ...any)) (missing int) {
	for _, s := range sessions {
		for n, e := range p.list {
			stayed := s.ended.IsZero() || s.code == protocol.CodeReconnect && s.ended.Sub(e.ended) > time.Second
			due := e.err == nil && e.began.After(s.heard) && !s.heard.IsZero() && stayed && !slices.Contains(cutOff, s.node)
			if !due || times(s.news, strconv.Itoa(n)) > 0 {
				continue
			}
			if missing++; missing < 10 {
				report("event %d, accepted by node %d at %v, never came to a client of node %d", n, e.node, e.began.Format("05.000"), s.node)
			}
		}
	}
	return missing
}

// check compares what clients were sent with what was published: each
// accepted event once to every client that stayed, no event twice, and all in
// one order. Clients of nodes that were cut off for longer than their lease are
// sent away, and need not have what others accepted meanwhile.
func (p *publisher) check(cutOff ...int) {
	t := p.world.t
	t.Helper()
	p.stop()
	accepted := 0
	for _, e := range p.list {
		if e.err == nil {
			accepted++
		}
	}
	t.Logf("%d of %d events were accepted", accepted, len(p.list))
	// What was accepted last may still be on its way.
	sessions, missing := p.sessions(), 0
	for deadline := time.Now().Add(20 * time.Second); ; sessions = p.sessions() {
		if missing = p.missing(sessions, cutOff, func(string, ...any) {}); missing == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if missing > 0 {
		p.missing(sessions, cutOff, t.Errorf)
		t.Errorf("%d events were lost", missing)
	}
	for _, s := range sessions {
		for n := range p.list {
			if got := times(s.news, strconv.Itoa(n)); got > 1 {
				t.Errorf("event %d came %d times to a client of node %d", n, got, s.node)
			}
		}
	}
	for i, a := range sessions {
		rank := make(map[string]int, len(a.news))
		for n, id := range a.news {
			rank[id] = n
		}
		for _, b := range sessions[i+1:] {
			last := -1
			for _, id := range b.news {
				n, both := rank[id]
				if both && n < last {
					t.Errorf("clients of nodes %d and %d see event %s in two orders", a.node, b.node, id)
					break
				}
				if both {
					last = n
				}
			}
		}
	}
}

// TestChaosKill kills a node with clients, some of which move to other nodes
// while the rest are gone for good.
func TestChaosKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.populate(4)
	w.owe(w.arrived()...)
	events := w.publish(50 * time.Millisecond)
	gone := w.client(0, "doomed", nil, "presence-all", "private-doomed")
	w.settle("one more")
	w.owe("channel_occupied private-doomed", "member_added presence-all doomed", "channel_vacated private-doomed", "member_removed presence-all doomed")
	w.service(0, false)
	gone.cancel() // it closes with the node
	w.nodes[0].Kill(t)
	w.forget(gone)
	w.settle("a node was killed")
	w.nodes[0].Run(t)
	w.service(0, true)
	late := w.client(0, "late", nil, "presence-all")
	w.settle("it is back")
	late.leave()
	w.owe("member_added presence-all late", "member_removed presence-all late")
	w.settle("and one has left")
	events.check()
	w.checkHooks()
}

// leaseEnds is after how long the others take a silent node for dead.
const leaseEnds = 10 * time.Second

// churn has clients come and go on all nodes in service until stop is called.
func (w *world) churn(users, clients int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for i := range clients {
		done.Go(func() {
			for ctx.Err() == nil {
				r := w.client(rand.IntN(len(w.nodes)), fmt.Sprintf("c%d", i%users), nil, "presence-all", "presence-churn")
				time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
				r.leave()
			}
		})
	}
	return func() { cancel(); done.Wait() }
}

// TestChaosChurn kills a node while clients come and go on all of them.
func TestChaosChurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.populate(2)
	stop := w.churn(5, 12)
	time.Sleep(2 * time.Second)
	w.service(0, false)
	w.nodes[0].Kill(t)
	time.Sleep(2 * time.Second)
	w.nodes[0].Run(t)
	w.service(0, true)
	stop()
	w.settle("a node was killed among clients that come and go")
	w.checkBalance()
}

// TestChaosPause stops a node for less than its lease, and then for more.
func TestChaosPause(t *testing.T) {
	for name, pause := range map[string]time.Duration{"shorter than the lease": 5 * time.Second, "longer": 15 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			w.populate(3)
			w.owe(w.arrived()...)
			events := w.publish(50 * time.Millisecond)
			time.Sleep(time.Second)
			w.nodes[0].Signal(t, syscall.SIGSTOP)
			w.service(0, false)
			time.Sleep(pause)
			w.nodes[0].Signal(t, syscall.SIGCONT)
			w.service(0, true)
			w.settle("a node was paused")
			if pause < leaseEnds {
				events.check()
				w.checkHooks()
			} else {
				events.check(0)
				w.checkBalance()
			}
		})
	}
}

// TestChaosPartition cuts one node off from Redis: nobody is told, or
// connections are reset.
func TestChaosPartition(t *testing.T) {
	for name, drill := range map[string]struct {
		cut    func(*wire)
		length time.Duration
	}{
		"silently, for longer than the lease": {(*wire).silence, 15 * time.Second},
		"by a reset, for a while":             {(*wire).cut, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			w.populate(3)
			w.owe(w.arrived()...)
			events := w.publish(50 * time.Millisecond)
			time.Sleep(time.Second)
			drill.cut(w.wires[0])
			eventually(t, "the node says that it is cut off", func() bool {
				status, why := w.ready(0)
				_, metrics := get("http://" + w.nodes[0].Admin + "/metrics")
				return status == http.StatusServiceUnavailable && strings.Contains(why, "bus") && strings.Contains(metrics, `offramp_redis_up{part="bus"} 0`)
			})
			time.Sleep(drill.length)
			w.wires[0].heal()
			w.settle("a node was cut off")
			if drill.length < leaseEnds {
				events.check()
				w.checkHooks()
			} else {
				events.check(0)
				w.checkBalance()
			}
		})
	}
}

// TestChaosRedis kills Redis, which comes back empty.
func TestChaosRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.populate(3)
	w.owe(w.arrived()...)
	events := w.publish(50 * time.Millisecond)
	time.Sleep(time.Second)
	w.redis.kill()
	time.Sleep(3 * time.Second)
	w.redis.start()
	w.settle("redis was restarted")
	events.check()
	w.checkHooks()
}

// TestChaosSlow makes Redis slow.
func TestChaosSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.populate(3)
	w.owe(w.arrived()...)
	events := w.publish(50 * time.Millisecond)
	time.Sleep(time.Second)
	for _, wire := range w.wires {
		wire.slow(150 * time.Millisecond)
	}
	w.settle("redis is slow")
	one := w.client(0, "slow", nil, "presence-all", "presence-0")
	w.settle("one came slowly")
	w.owe("member_added presence-all slow", "member_added presence-0 slow", "member_removed presence-all slow", "member_removed presence-0 slow")
	one.leave()
	w.settle("and went")
	for _, wire := range w.wires {
		wire.heal()
	}
	w.settle("redis is quick again")
	events.check()
	w.checkHooks()
}
