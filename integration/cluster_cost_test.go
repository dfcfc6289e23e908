package integration

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offramp/offramp/integration/harness"
)

// ledger is what gateways have asked of Redis, by command, without what they
// do by the clock and what scripts do on the server.
type ledger struct {
	t     *testing.T
	other net.Conn      // for marks
	marks chan struct{} // seen

	mu   sync.Mutex
	asks map[string]int
}

// watchRedis counts by MONITOR.
func watchRedis(t *testing.T, s *redisServer) *ledger {
	t.Helper()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	conn := dial()
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	lines.Scan() // +OK
	l := &ledger{t: t, other: dial(), marks: make(chan struct{}, 1), asks: map[string]int{}}
	go func() {
		for lines.Scan() {
			l.note(lines.Text())
		}
	}()
	return l
}

func (l *ledger) note(line string) {
	_, rest, _ := strings.Cut(line, "] \"")
	command, _, _ := strings.Cut(rest, "\"")
	switch {
	case command == "ECHO":
		l.marks <- struct{}{}
		return
	case strings.Contains(line, "lua] "), strings.Contains(line, "{nodes}"): // leases
		return
	case command == "info", command == "ping", command == "time", command == "script", command == "client":
		return
	case command == "eval":
		return // evalsha before it was counted, and was not known yet
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks[command]++
}

// catchUp waits until all that Redis was asked before this call is counted.
func (l *ledger) catchUp() {
	l.t.Helper()
	if _, err := l.other.Write([]byte("ECHO mark\r\n")); err != nil {
		l.t.Fatal(err)
	}
	select {
	case <-l.marks:
	case <-time.After(30 * time.Second):
		l.t.Fatal("MONITOR shows nothing")
	}
}

// costs says what an action asks of Redis, once everything has come to rest.
func (l *ledger) costs(what string, want map[string]int, action func()) {
	l.t.Helper()
	l.catchUp()
	l.mu.Lock()
	clear(l.asks)
	l.mu.Unlock()
	action()
	asked := func() map[string]int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return maps.Clone(l.asks)
	}
	for deadline := time.Now().Add(30 * time.Second); !maps.Equal(asked(), want) && time.Now().Before(deadline) && total(asked()) <= total(want); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // for what is not due
	l.catchUp()
	if got := asked(); !maps.Equal(got, want) {
		l.t.Errorf("%s asks Redis for %v, want %v", what, got, want)
	}
}

func total(asks map[string]int) (sum int) {
	for _, n := range asks {
		sum += n
	}
	return sum
}

// What docs/operations.md says that an event and a subscription cost.
func TestWhatIsAskedOfRedis(t *testing.T) {
	nodes, redis := startCluster(t, 2, fmt.Sprintf("\n  - {id: %s, key: %s, secret: %s, client_events: true}\n", harness.AppID, harness.Key, harness.Secret))
	l := watchRedis(t, redis)
	type cost = map[string]int
	publish := func(node int, channel string) func() {
		return func() {
			if err := serverOf(nodes[node]).Trigger(channel, "e", "x"); err != nil {
				t.Error(err)
			}
		}
	}
	var a, b, c, d *clusterClient
	l.costs("a connection", cost{}, func() {
		a, b, c, d = dialNode(t, nodes[0]), dialNode(t, nodes[0]), dialNode(t, nodes[0]), dialNode(t, nodes[0])
	})

	a.join("private-first", "") // the app is claimed
	l.costs("a node's first subscription to a channel", cost{"subscribe": 1, "evalsha": 1}, func() { a.join("private-a", "") })
	l.costs("a further one", cost{"evalsha": 1}, func() { b.join("private-a", "") })
	publish(0, "private-a")() // the node subscribes to its own channel of the bucket
	publish(1, "private-a")()
	l.costs("an event of a node with subscribers", cost{"evalsha": 1}, publish(0, "private-a"))
	l.costs("an event of a node without", cost{"evalsha": 1}, publish(1, "private-a"))
	l.costs("a client event", cost{"evalsha": 1}, func() {
		send(t, a.conn, `{"event":"client-x","channel":"private-a","data":"1"}`)
	})

	publish(0, "private-cache-a")()
	l.costs("a node's first subscription to a cache channel", cost{"subscribe": 1, "evalsha": 2}, func() { a.join("private-cache-a", "") })
	l.costs("a further one to it", cost{"evalsha": 1}, func() { b.join("private-cache-a", "") })
	l.costs("an event on it", cost{"evalsha": 1}, publish(0, "private-cache-a"))

	a.join("presence-a", "a")
	l.costs("the arrival of a user", cost{"evalsha": 4}, func() { b.join("presence-a", "b") })
	l.costs("a further socket of a user", cost{"evalsha": 3}, func() { c.join("presence-a", "b") })
	leave := func(who *clusterClient) func() {
		return func() { send(t, who.conn, `{"event":"pusher:unsubscribe","data":{"channel":"presence-a"}}`) }
	}
	l.costs("the end of one of a user's sockets", cost{"evalsha": 2}, leave(c))
	l.costs("the departure of a user", cost{"evalsha": 4}, leave(b))
	l.costs("the last subscription of a node", cost{"evalsha": 4, "unsubscribe": 1}, leave(a))
	l.costs("a connection that ends without subscriptions", cost{}, func() { _ = d.conn.Close() })
}
