package integration

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	pusher "github.com/pusher/pusher-http-go/v5"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy/protocol"
)

// redisServer is a Redis server that keeps nothing on disk.
type redisServer struct {
	t    *testing.T
	port string
	cmd  *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	_, port, _ := strings.Cut(harness.FreeAddr(t), ":")
	s := &redisServer{t: t, port: port}
	t.Cleanup(s.kill)
	s.start()
	return s
}

func (s *redisServer) start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", "--port", s.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir())
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start redis-server (Debian package redis-server): %v", err)
	}
}

func (s *redisServer) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// startCluster runs gateways that meet at one Redis.
func startCluster(t *testing.T, size int, apps string) ([]*harness.Gateway, *redisServer) {
	t.Helper()
	redis := startRedis(t)
	nodes := make([]*harness.Gateway, size)
	for i := range nodes {
		nodes[i] = harness.Start(t, apps, fmt.Sprintf("cluster: {redis: {url: \"redis://127.0.0.1:%s/0\", prefix: \"it:\"}}", redis.port))
	}
	return nodes, redis
}

// clusterClient is a client of one node that keeps all it is sent.
type clusterClient struct {
	t      *testing.T
	conn   *websocket.Conn
	socket protocol.SocketID

	mu     sync.Mutex
	frames []string
	closed error
}

func dialNode(t *testing.T, g *harness.Gateway) *clusterClient {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+g.Addr+"/app/"+harness.Key+"?protocol=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	c := &clusterClient{t: t, conn: conn, socket: protocol.SocketID(strings.Split(read(t, conn), `\"`)[3])}
	_ = conn.SetReadDeadline(time.Time{})
	go func() {
		for {
			_, frame, err := conn.ReadMessage()
			c.mu.Lock()
			if err != nil {
				c.closed = err
				c.mu.Unlock()
				return
			}
			c.frames = append(c.frames, string(frame))
			c.mu.Unlock()
		}
	}()
	return c
}

// join subscribes to a channel, as a user if it is a presence channel.
func (c *clusterClient) join(channel, user string) {
	c.t.Helper()
	data, extra := (*string)(nil), ""
	if user != "" {
		text := `{"user_id":"` + user + `","user_info":{"name":"` + user + `"}}`
		data, extra = &text, `,"channel_data":`+string(protocol.AppendString(nil, text))
	}
	auth := harness.Key + ":" + protocol.Sign(harness.Secret, protocol.ChannelString(c.socket, protocol.ChannelName(channel), data))
	send(c.t, c.conn, `{"event":"pusher:subscribe","data":{"channel":"`+channel+`","auth":"`+auth+`"`+extra+`}}`)
	eventually(c.t, "the subscription to "+channel+" succeeds", func() bool { return c.count("subscription_succeeded", channel) == 1 })
}

// count returns how many frames contain all of the texts.
func (c *clusterClient) count(texts ...string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.frames {
		if !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(f, s) }) {
			n++
		}
	}
	return n
}

// user is how a frame's data names a user.
func user(id string) string { return `\"` + id + `\"` }

// events returns the data of the events of a name, in order.
func (c *clusterClient) events(name string) (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.frames {
		if strings.HasPrefix(f, `{"event":"`+name+`"`) {
			list = append(list, f)
		}
	}
	return list
}

func serverOf(g *harness.Gateway) *pusher.Client {
	return &pusher.Client{AppID: harness.AppID, Key: harness.Key, Secret: harness.Secret, Host: g.Addr}
}

func usersOn(g *harness.Gateway, channel string) string {
	users, err := serverOf(g).GetChannelUsers(channel)
	if err != nil {
		return err.Error()
	}
	var ids []string
	for _, u := range users.List {
		ids = append(ids, u.ID)
	}
	return strings.Join(ids, " ")
}

func countOn(g *harness.Gateway, channel string) int {
	info := "subscription_count"
	state, err := serverOf(g).Channel(channel, pusher.ChannelParams{Info: &info})
	if err != nil {
		return -1
	}
	return state.SubscriptionCount
}

// patiently waits for what may take a lease.
func patiently(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}

func TestThreeNodesAreOneGateway(t *testing.T) {
	hooks := newHookLog(t)
	hooks.up()
	nodes, _ := startCluster(t, 3, harness.DefaultApps+`    webhooks:
      - url: `+hooks.url+`
        events: [channel_occupied, channel_vacated, member_added, member_removed]
`)
	a, b, c := dialNode(t, nodes[0]), dialNode(t, nodes[1]), dialNode(t, nodes[2])
	a.join("presence-room", "ann")
	b.join("presence-room", "bob")
	c.join("presence-room", "cid")
	second := dialNode(t, nodes[2]) // the same user on another node
	second.join("presence-room", "ann")
	if n := c.count("subscription_succeeded", `\"ann\",\"bob\",\"cid\"`); n != 1 {
		t.Errorf("the third's list does not show all users in order of arrival: %q", c.frames)
	}
	eventually(t, "the first is told of the others", func() bool {
		return a.count("member_added", user("bob")) == 1 && a.count("member_added", user("cid")) == 1
	})
	for i, g := range nodes {
		if got := usersOn(g, "presence-room"); got != "ann bob cid" {
			t.Errorf("node %d: users %q", i, got)
		}
		if got := countOn(g, "presence-room"); got != 4 {
			t.Errorf("node %d: subscription_count %d, want 4", i, got)
		}
	}

	// One order, and nothing for the one who is left out.
	var wg sync.WaitGroup
	for i, g := range nodes {
		wg.Go(func() {
			for n := range 40 {
				params := pusher.TriggerParams{}
				if i == 0 {
					id := string(b.socket)
					params.SocketID = &id
				}
				if _, err := serverOf(g).TriggerWithParams("presence-room", "order", fmt.Sprintf("%d-%d", i, n), params); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all have all", func() bool {
		return len(a.events("order")) == 120 && len(c.events("order")) == 120 && len(b.events("order")) == 80
	})
	if !slices.Equal(a.events("order"), c.events("order")) {
		t.Error("two nodes' clients see two orders")
	}
	if b.count(`"order"`, `"0-`) != 0 {
		t.Error("the socket that was excluded on another node has got an event")
	}

	// A user's last socket of all nodes.
	_ = second.conn.Close()
	_ = c.conn.Close()
	eventually(t, "the others are told", func() bool {
		return a.count("member_removed", user("cid")) == 1 && b.count("member_removed", user("cid")) == 1
	})
	if a.count("member_removed", user("ann"))+b.count("member_removed", user("ann")) != 0 {
		t.Error("a user with a socket on another node is told to be gone")
	}

	// A user who comes back on another node within the delay has not left.
	moved := dialNode(t, nodes[0])
	moved.join("presence-room", "dee")
	_ = moved.conn.Close()
	eventually(t, "dee is gone", func() bool { return b.count("member_removed", user("dee")) == 1 })
	time.Sleep(500 * time.Millisecond) // the departure is on its node's disk
	moved = dialNode(t, nodes[2])
	moved.join("presence-room", "dee")
	time.Sleep(4 * time.Second)
	_ = moved.conn.Close()
	eventually(t, "dee is gone for good", func() bool { return b.count("member_removed", user("dee")) == 2 })

	// A node that dies.
	died := time.Now()
	nodes[0].Kill(t)
	patiently(t, "the dead node's user is gone", func() bool { return b.count("member_removed", user("ann")) == 1 })
	eventually(t, "the counts are true", func() bool { return countOn(nodes[1], "presence-room") == 1 })
	// 13 s on a machine that has time: the lease, and 3 s.
	if took := time.Since(died); took > patience {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("the dead node's members were gone after %v", took)
	}
	for i, g := range nodes[1:] {
		if got := usersOn(g, "presence-room"); got != "bob" {
			t.Errorf("node %d: users %q, want bob", i+1, got)
		}
	}
	_ = b.conn.Close()
	hooks.await("channel_vacated presence-room", 20*time.Second)
	time.Sleep(4 * time.Second) // longer than a departure is held back
	got := hooks.seen()
	slices.Sort(got)
	want := []string{
		"channel_occupied presence-room", "channel_vacated presence-room",
		"member_added presence-room ann", "member_added presence-room bob", "member_added presence-room cid", "member_added presence-room dee",
		"member_removed presence-room ann", "member_removed presence-room bob", "member_removed presence-room cid", "member_removed presence-room dee",
	}
	if !slices.Equal(got, want) {
		t.Errorf("webhooks %q, want %q", got, want)
	}
}

// A node that is paused for longer than its lease sends its clients away when
// it wakes: to come back at once, with 4200.
func TestPausedNodeDropsItsClients(t *testing.T) {
	nodes, _ := startCluster(t, 2, harness.DefaultApps)
	ghost, other := dialNode(t, nodes[0]), dialNode(t, nodes[1])
	ghost.join("presence-room", "ghost")
	other.join("presence-room", "other")
	nodes[0].Signal(t, syscall.SIGSTOP)
	patiently(t, "the paused node's user is gone", func() bool { return other.count("member_removed", user("ghost")) == 1 })
	nodes[0].Signal(t, syscall.SIGCONT)
	eventually(t, "its client is sent away", func() bool {
		ghost.mu.Lock()
		defer ghost.mu.Unlock()
		return websocket.IsCloseError(ghost.closed, protocol.CodeReconnect)
	})
	eventually(t, "nothing is left of it", func() bool {
		return usersOn(nodes[0], "presence-room") == "other" && countOn(nodes[0], "presence-room") == 1
	})
	eventually(t, "the node is ready", func() bool {
		resp, err := http.Get("http://" + nodes[0].Admin + "/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	again := dialNode(t, nodes[0])
	again.join("presence-room", "ghost")
	eventually(t, "it is told to be back", func() bool { return other.count("member_added", user("ghost")) == 1 })
}

// Redis goes away and comes back empty: connections stay, publishes are
// refused meanwhile, and soon after all is as true as before.
func TestRedisRestartsUnderTwoNodes(t *testing.T) {
	hooks := newHookLog(t)
	hooks.up()
	nodes, redis := startCluster(t, 2, harness.DefaultApps+`    webhooks:
      - url: `+hooks.url+`
        events: [channel_occupied, channel_vacated, member_added, member_removed]
`)
	a, b, c := dialNode(t, nodes[0]), dialNode(t, nodes[1]), dialNode(t, nodes[0])
	a.join("presence-room", "ann")
	b.join("presence-room", "bob")
	c.join("presence-room", "cid")
	c.join("private-c", "")
	hooks.await("channel_occupied private-c", 10*time.Second)
	redis.kill()
	eventually(t, "publishing is refused", func() bool { return serverOf(nodes[0]).Trigger("presence-room", "lost", "") != nil })
	_ = c.conn.Close()
	time.Sleep(3 * time.Second)
	redis.start()
	back := time.Now()
	for i, g := range nodes {
		eventually(t, "presence is exact", func() bool {
			return usersOn(g, "presence-room") == "ann bob" || usersOn(g, "presence-room") == "bob ann"
		})
		eventually(t, "counts are exact", func() bool { return countOn(g, "presence-room") == 2 && countOn(g, "private-c") == 0 })
		eventually(t, "publishing works", func() bool { return serverOf(g).Trigger("presence-room", "back", fmt.Sprint(i)) == nil })
	}
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("it took %v, want 5 s", took)
	}
	eventually(t, "both have both events", func() bool { return a.count(`"back"`) == 2 && b.count(`"back"`) == 2 })
	eventually(t, "the end during the outage is told", func() bool {
		return a.count("member_removed", user("cid")) == 1 && b.count("member_removed", user("cid")) == 1
	})
	for _, c := range []*clusterClient{a, b} {
		if n := c.count("member_removed"); n != 1 {
			t.Errorf("told of %d members removed, want one: %q", n, c.frames)
		}
		if c.count(`"lost"`) != 0 {
			t.Error("an event that was refused has been delivered")
		}
	}
	hooks.await("channel_vacated private-c", 10*time.Second)
	time.Sleep(time.Second)
	got := hooks.seen()
	slices.Sort(got)
	want := []string{
		"channel_occupied presence-room", "channel_occupied private-c", "channel_vacated private-c",
		"member_added presence-room ann", "member_added presence-room bob", "member_added presence-room cid", "member_removed presence-room cid",
	}
	if !slices.Equal(got, want) {
		t.Errorf("webhooks %q, want %q", got, want)
	}
}
