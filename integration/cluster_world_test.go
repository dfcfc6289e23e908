package integration

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
)

// world is a cluster, what can go wrong with it, and its clients, who know
// the truth.
type world struct {
	t     *testing.T
	redis *redisServer
	wires []*wire // of each node to Redis
	nodes []*harness.Gateway
	hooks *hookLog

	mu      sync.Mutex
	out     map[int]bool // nodes that the load balancer sends nobody to
	clients []*roamer
	told    []string // webhooks that are due, beside those of the clients' first arrival
}

// newWorld starts that many nodes, each with a wire of its own to one Redis.
func newWorld(t *testing.T, size int) *world {
	t.Helper()
	w := &world{t: t, redis: startRedis(t), hooks: newHookLog(t), out: make(map[int]bool)}
	w.hooks.up()
	for range size {
		wire := startWire(t, "127.0.0.1:"+w.redis.port)
		w.wires = append(w.wires, wire)
		w.nodes = append(w.nodes, harness.Start(t, w.apps(), "cluster: {redis: {url: \"redis://"+wire.addr+"/0\", prefix: \"it:\"}}"))
	}
	t.Cleanup(func() {
		for _, r := range w.all() {
			r.leave()
		}
	})
	return w
}

func (w *world) apps() string {
	return harness.DefaultApps + `    webhooks:
      - url: ` + w.hooks.url + `
        events: [channel_occupied, channel_vacated, member_added, member_removed]
`
}

// route is the load balancer: the node that is wanted, or the next one that
// is in service.
func (w *world) route(wanted int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.nodes {
		if node := (wanted + i) % len(w.nodes); !w.out[node] {
			return node
		}
	}
	return wanted % len(w.nodes)
}

// service puts a node into the load balancer, or takes it out.
func (w *world) service(node int, in bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out[node] = !in
}

// serving returns the nodes that are in service.
func (w *world) serving() (list []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.nodes {
		if !w.out[i] {
			list = append(list, i)
		}
	}
	return list
}

func (w *world) all() []*roamer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.clients)
}

func (w *world) forget(r *roamer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients = slices.DeleteFunc(w.clients, func(c *roamer) bool { return c == r })
}

// client starts one on a node. With a watchlist it signs in as its user.
func (w *world) client(home int, user string, watches []string, channels ...string) *roamer {
	ctx, cancel := context.WithCancel(context.Background())
	r := &roamer{
		world: w, user: user, home: home, channels: channels, watches: watches, cancel: cancel, ended: make(chan struct{}),
	}
	w.mu.Lock()
	r.name = fmt.Sprintf("client %d (%s)", len(w.clients), user)
	w.clients = append(w.clients, r)
	w.mu.Unlock()
	go r.run(ctx)
	return r
}

// populate gives every node some clients: users of two rooms, one of them in
// a second tab on the next node, and one who watches others.
func (w *world) populate(perNode int) {
	for node := range w.nodes {
		for i := range perNode {
			user := fmt.Sprintf("u%d%d", node, i)
			var watches []string
			if i == 0 {
				watches = []string{"u00", "u10", "u20", "nobody"}
			}
			w.client(node, user, watches, news, "presence-all", fmt.Sprintf("presence-%d", i%2), fmt.Sprintf("private-%d", node))
		}
		w.client((node+1)%len(w.nodes), fmt.Sprintf("u%d1", node), nil, "presence-all")
	}
	w.settle("all clients have arrived")
}

// settle waits until every client is where it wants to be and everything that
// is said of them is true, and stays so.
func (w *world) settle(what string) {
	w.t.Helper()
	began := time.Now()
	var wrong []string
	patiently(w.t, what, func() bool {
		wrong = w.audit()
		return len(wrong) == 0 || time.Since(began) > 28*time.Second
	})
	if len(wrong) == 0 {
		w.t.Logf("%s: true after %v", what, time.Since(began).Round(10*time.Millisecond))
		time.Sleep(time.Second)
		wrong = w.audit()
	}
	if len(wrong) > 0 {
		w.t.Fatalf("%s: not true:\n%s", what, strings.Join(wrong, "\n"))
	}
}

// truth is what the clients know of themselves.
type truth struct {
	counts map[string]int             // subscriptions, by channel
	users  map[string]map[string]bool // by presence channel
	online map[string]bool
}

func (w *world) truth() (truth, []string) {
	now := truth{counts: make(map[string]int), users: make(map[string]map[string]bool), online: make(map[string]bool)}
	var wrong []string
	for _, r := range w.all() {
		if !r.is() {
			wrong = append(wrong, r.name+" is not connected and subscribed")
		}
		for _, channel := range r.channels {
			now.counts[channel]++
			if strings.HasPrefix(channel, "presence-") {
				if now.users[channel] == nil {
					now.users[channel] = make(map[string]bool)
				}
				now.users[channel][r.user] = true
			}
		}
		if r.watches != nil {
			now.online[r.user] = true
		}
	}
	return now, wrong
}

// audit compares what clients know of themselves with what every node, and
// every client, says of them.
func (w *world) audit() (wrong []string) {
	now, wrong := w.truth()
	if len(wrong) > 0 {
		return wrong
	}
	var asking sync.WaitGroup
	answers := make([][]string, len(w.nodes))
	for _, node := range w.serving() {
		asking.Go(func() { answers[node] = w.auditNode(node, now) })
	}
	asking.Wait()
	wrong = slices.Concat(answers...)
	for _, r := range w.all() {
		members, online := r.view()
		for channel, users := range now.users {
			got, want := members[channel], slices.Sorted(maps.Keys(users))
			if slices.Contains(r.channels, channel) && !slices.Equal(got, want) {
				wrong = append(wrong, fmt.Sprintf("%s sees %q on %s, want %q", r.name, got, channel, want))
			}
		}
		var want []string
		for _, id := range r.watches {
			if now.online[id] {
				want = append(want, id)
			}
		}
		if slices.Sort(want); !slices.Equal(online, want) {
			wrong = append(wrong, fmt.Sprintf("%s sees %q online, want %q", r.name, online, want))
		}
		r.mu.Lock()
		wrong = append(wrong, r.faults...)
		r.mu.Unlock()
	}
	return wrong
}

// auditNode compares the answers of one node's HTTP API with the truth.
func (w *world) auditNode(node int, now truth) (wrong []string) {
	server := serverOf(w.nodes[node])
	server.HTTPClient = &http.Client{Timeout: 5 * time.Second}
	list, err := server.Channels(pusher.ChannelsParams{})
	if err != nil {
		return []string{fmt.Sprintf("node %d: %v", node, err)}
	}
	for channel := range list.Channels {
		if now.counts[channel] == 0 {
			wrong = append(wrong, fmt.Sprintf("node %d: %s is a ghost", node, channel))
		}
	}
	for channel, want := range now.counts {
		if _, is := list.Channels[channel]; !is {
			wrong = append(wrong, fmt.Sprintf("node %d: %s is not listed", node, channel))
		}
		if got := countOn(w.nodes[node], channel); got != want {
			wrong = append(wrong, fmt.Sprintf("node %d: %s has %d subscriptions, want %d", node, channel, got, want))
		}
	}
	for channel, users := range now.users {
		got := strings.Fields(usersOn(w.nodes[node], channel))
		slices.Sort(got)
		if want := slices.Sorted(maps.Keys(users)); !slices.Equal(got, want) {
			wrong = append(wrong, fmt.Sprintf("node %d: %s has users %q, want %q", node, channel, got, want))
		}
	}
	return wrong
}

// arrived returns the webhooks that the clients' first arrival calls for.
func (w *world) arrived() (due []string) {
	now, _ := w.truth()
	for channel := range now.counts {
		due = append(due, "channel_occupied "+channel)
	}
	for channel, users := range now.users {
		for id := range users {
			due = append(due, "member_added "+channel+" "+id)
		}
	}
	return due
}

// owe adds to the webhooks that are due.
func (w *world) owe(due ...string) { w.told = append(w.told, due...) }

// checkHooks waits for the webhooks that are due, and for longer than a
// departure is held back: each has come once, and no other.
func (w *world) checkHooks() {
	w.t.Helper()
	want := slices.Sorted(slices.Values(w.told))
	sorted := func() []string { return slices.Sorted(slices.Values(w.hooks.seen())) }
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && len(sorted()) < len(want); {
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(3500 * time.Millisecond)
	got := sorted()
	for _, event := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(got, want)))) {
		if g, n := times(got, event), times(want, event); g != n {
			w.t.Errorf("webhook %q came %d times, want %d", event, g, n)
		}
	}
}

// checkBalance waits for as long as a departure is held back: then webhooks
// have told of one more arrival than departure of all that is there, and of as
// many of all that is not.
func (w *world) checkBalance() {
	w.t.Helper()
	now, _ := w.truth()
	var wrong []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		balance := make(map[string]int)
		for _, event := range w.hooks.seen() {
			name, what, _ := strings.Cut(event, " ")
			switch name {
			case "channel_occupied", "member_added":
				balance[what]++
			case "channel_vacated", "member_removed":
				balance[what]--
			}
		}
		for channel := range now.counts {
			balance[channel]--
			for user := range now.users[channel] {
				balance[channel+" "+user]--
			}
		}
		wrong = wrong[:0]
		for what, n := range balance {
			if n != 0 {
				wrong = append(wrong, fmt.Sprintf("%s: %+d", what, n))
			}
		}
		if len(wrong) == 0 {
			return
		}
	}
	slices.Sort(wrong)
	w.t.Errorf("webhooks have told of too many arrivals (+) or departures (-): %s", strings.Join(wrong, ", "))
}

func times(list []string, what string) (n int) {
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}

// ready returns a node's status at /ready and its reasons.
func (w *world) ready(node int) (int, string) {
	return get("http://" + w.nodes[node].Admin + "/ready")
}

func get(url string) (status int, body string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}
