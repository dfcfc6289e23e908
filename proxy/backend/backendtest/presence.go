package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/offramp/offramp/proxy"
)

var room = proxy.Topic{App: "app", Channel: "presence-a"}

// members is presence seen from nodes in turn, as the sockets of users are.
type members struct {
	t     *testing.T
	nodes []Node
}

func (m members) at(socket int) proxy.Presence { return m.nodes[socket%len(m.nodes)].Presence }

// join joins a socket and returns the users in order.
func (m members) join(user string, n, limit int) (users []string, first bool, err error) {
	m.t.Helper()
	joined := proxy.Member{UserID: user, Info: fmt.Appendf(nil, `{"socket":%d}`, n)}
	list, first, err := m.at(n).Join(m.t.Context(), room, joined, socket(n), limit)
	return ids(list), first, err
}

func (m members) mustJoin(user string, n int, wantFirst bool, want ...string) {
	m.t.Helper()
	users, first, err := m.join(user, n, 100)
	if err != nil || first != wantFirst || !slices.Equal(users, want) {
		m.t.Fatalf("Join(%s, socket %d) = %v, %t, %v; want %v, %t", user, n, users, first, err, want, wantFirst)
	}
}

func (m members) mustLeave(user string, n int, wantLast bool) {
	m.t.Helper()
	last, err := m.at(n).Leave(m.t.Context(), room, user, socket(n))
	if err != nil || last != wantLast {
		m.t.Fatalf("Leave(%s, socket %d) = %t, %v; want %t", user, n, last, err, wantLast)
	}
}

func (m members) mustBe(want ...string) {
	m.t.Helper()
	for i, n := range m.nodes {
		list, err := n.Presence.Members(m.t.Context(), room)
		if err != nil || !slices.Equal(ids(list), want) {
			m.t.Fatalf("node %d: Members = %v, %v; want %v", i, ids(list), err, want)
		}
	}
}

func ids(list []proxy.Member) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.UserID)
	}
	return out
}

func present(t *testing.T, nodes []Node) members {
	receive(t, nodes)
	return members{t, nodes}
}

func firstAndLast(t *testing.T, nodes []Node) {
	m := present(t, nodes)
	m.mustBe()
	m.mustJoin("a", 1, true, "a")
	m.mustJoin("a", 2, false, "a")
	m.mustJoin("b", 3, true, "a", "b")
	m.mustLeave("a", 1, false)
	m.mustBe("a", "b")
	m.mustLeave("a", 2, true)
	m.mustBe("b")
	m.mustJoin("a", 1, true, "b", "a")
	m.mustLeave("b", 3, true)
	m.mustLeave("a", 1, true)
	m.mustBe()
}

func arrivalOrder(t *testing.T, nodes []Node) {
	m := present(t, nodes)
	var want []string
	for i := range 20 {
		user := fmt.Sprintf("u%02d", (i*7)%20) // not the order of names
		want = append(want, user)
		m.mustJoin(user, i, true, want...)
	}
	for i := 0; i < 20; i += 3 {
		user := fmt.Sprintf("u%02d", (i*7)%20)
		m.mustLeave(user, i, true)
		want = slices.DeleteFunc(want, func(s string) bool { return s == user })
		m.mustBe(want...)
	}
}

func firstInfo(t *testing.T, nodes []Node) {
	m := present(t, nodes)
	m.mustJoin("a", 1, true, "a")
	m.mustJoin("a", 2, false, "a")
	m.mustLeave("a", 1, false)
	for i, n := range nodes {
		list, err := n.Presence.Members(t.Context(), room)
		if err != nil || len(list) != 1 || string(list[0].Info) != `{"socket":1}` {
			t.Errorf("node %d: Members = %q, %v; want the first socket's information", i, list, err)
		}
	}
	m.mustLeave("a", 2, true)
	m.mustJoin("a", 3, true, "a")
	list, _ := nodes[0].Presence.Members(t.Context(), room)
	if len(list) != 1 || string(list[0].Info) != `{"socket":3}` {
		t.Errorf("after the user had gone: Members = %q, want the new information", list)
	}
	bare := proxy.Member{UserID: "b"}
	list, _, err := nodes[0].Presence.Join(t.Context(), room, bare, socket(4), 100)
	if err != nil || len(list) != 2 || list[1].Info != nil {
		t.Errorf("a member without information: %q, %v; want none", list, err)
	}
}

func limit(t *testing.T, nodes []Node) {
	m := present(t, nodes)
	for i := range 3 {
		if _, _, err := m.join(fmt.Sprintf("u%d", i), i, 3); err != nil {
			t.Fatalf("user %d of 3: %v", i+1, err)
		}
	}
	if _, _, err := m.join("u3", 3, 3); !errors.Is(err, proxy.ErrChannelFull) {
		t.Errorf("a fourth user: %v, want %v", err, proxy.ErrChannelFull)
	}
	m.mustBe("u0", "u1", "u2")
	if _, first, err := m.join("u0", 4, 3); err != nil || first {
		t.Errorf("a second socket of the first: first %t, %v", first, err)
	}
	m.mustLeave("u3", 3, false)
	m.mustLeave("u1", 1, true)
	if _, _, err := m.join("u3", 3, 3); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func limitAtOnce(t *testing.T, nodes []Node) {
	m := present(t, nodes)
	var joined, full atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			switch _, _, err := m.join(fmt.Sprintf("u%d", i), i, 10); {
			case err == nil:
				joined.Add(1)
			case errors.Is(err, proxy.ErrChannelFull):
				full.Add(1)
			}
		})
	}
	wg.Wait()
	if joined.Load() != 10 || full.Load() != 30 {
		t.Errorf("%d have joined, %d were too many; want 10 and 30", joined.Load(), full.Load())
	}
}

func firstAtOnce(t *testing.T, nodes []Node) {
	m := present(t, nodes)
	var firsts, lasts atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, first, err := m.join("a", i, 1); err == nil && first {
				firsts.Add(1)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		wg.Go(func() {
			if last, err := m.at(i).Leave(t.Context(), room, "a", socket(i)); err == nil && last {
				lasts.Add(1)
			}
		})
	}
	wg.Wait()
	if firsts.Load() != 1 || lasts.Load() != 1 {
		t.Errorf("%d were first, %d last; want one of each", firsts.Load(), lasts.Load())
	}
	m.mustBe()
}

func channelsApart(t *testing.T, nodes []Node) {
	present(t, nodes)
	for i, other := range []proxy.Topic{room, {App: "other", Channel: room.Channel}, {App: room.App, Channel: "presence-b"}} {
		list, first, err := nodes[0].Presence.Join(t.Context(), other, proxy.Member{UserID: "a"}, socket(1), 1)
		if err != nil || !first || len(list) != 1 {
			t.Errorf("topic %d: %v, %t, %v; want the first of its own", i, list, first, err)
		}
	}
}

func leaveTwice(t *testing.T, nodes []Node) {
	m := present(t, nodes)
	m.mustLeave("a", 1, false)
	m.mustJoin("a", 1, true, "a")
	m.mustJoin("a", 1, false, "a") // the same socket once more
	m.mustLeave("b", 1, false)
	m.mustLeave("a", 1, true)
	m.mustLeave("a", 1, false)
	m.mustBe()
}
