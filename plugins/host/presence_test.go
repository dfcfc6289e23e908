package host_test

import (
	"context"
	"errors"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators/ably/ablytest"
)

// TestPresence tells a backend, through its plugin's process, who is on a
// presence channel: everybody, again after the process was killed, and nobody
// in the end.
func TestPresence(t *testing.T) {
	server, err := ablytest.Start(ablytest.Options{RemainPresentFor: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	s := settingsFor(t, &records{}, backend("ably", map[string]any{
		"key": proxy.NewSecret(server.Key()), "host": server.Addr(), "tls": false, "retry": "200ms",
	}))
	s.Members = func(_ context.Context, t proxy.Topic) (all []proxy.Member, _ error) {
		for _, id := range []string{"ann", "bob", "somebody on another node"} {
			all = append(all, proxy.Member{UserID: id, Info: []byte(`{"name":"` + id + `"}`)})
		}
		return all, nil
	}
	h, _ := start(t, s)
	offer := func(kind proxy.Kind, user string) {
		h.Offer(proxy.Record{Kind: kind, Leg: proxy.LegEngine, Topic: topic("presence-room"), UserID: user})
	}
	there := func(want string) func() bool {
		return func() bool {
			o, err := h.Query(context.Background(), "app", "candidate", "presence-room")
			if err != nil {
				return false // between two processes
			}
			var ids []string
			for _, m := range o.Members {
				ids = append(ids, m.UserID+" "+string(m.Info))
			}
			sort.Strings(ids)
			return strings.Join(ids, ", ") == want
		}
	}
	offer(proxy.KindSubscribed, "ann")
	offer(proxy.KindSubscribed, "bob")
	const both = `ann {"name":"ann"}, bob {"name":"bob"}`
	waitFor(t, "both members", there(both))
	first := h.Status()[0].PID
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "another process", func() bool {
		now := h.Status()[0]
		return now.State == host.StateRunning && now.PID != first && now.Presence != nil && now.Presence.Pending == 0
	})
	waitFor(t, "both members, of the new process", there(both))
	offer(proxy.KindUnsubscribed, "ann")
	waitFor(t, "one member", there(`bob {"name":"bob"}`))
	offer(proxy.KindUnsubscribed, "bob")
	waitFor(t, "an empty channel", there(""))
	if p := h.Status()[0].Presence; p.Channels != 0 || p.Members != 0 || p.Failures != 0 {
		t.Errorf("status %+v, want nobody and no failure", *p)
	}
	if _, err := h.Query(t.Context(), "app", "other", "presence-room"); !errors.Is(err, host.ErrNoBackend) {
		t.Errorf("Query of no backend: %v", err)
	}
}

func TestBackendsWithoutPresenceAreToldOfNobody(t *testing.T) {
	s := settingsFor(t, &records{}, backend("echo", nil))
	s.Members = func(context.Context, proxy.Topic) ([]proxy.Member, error) {
		return nil, errors.New("must not be asked")
	}
	h, _ := start(t, s)
	h.Offer(proxy.Record{Kind: proxy.KindSubscribed, Leg: proxy.LegEngine, Topic: topic("presence-room"), UserID: "ann"})
	waitFor(t, "the plugin", func() bool { return h.Status()[0].State == host.StateRunning })
	waitFor(t, "its session", func() bool {
		_, err := h.Query(context.Background(), "app", "candidate", "presence-room")
		return errors.Is(err, host.ErrCannotAnswer)
	})
	if p := h.Status()[0].Presence; p != nil {
		t.Errorf("the status tells of presence: %+v", *p)
	}
}
