package ably_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/ably"
	"github.com/offramp/offramp/translators/ably/ablytest"
	"github.com/offramp/offramp/translators/translatortest"
)

func items(from, to int, channel string) []translators.Envelope {
	var all []translators.Envelope
	for i := from; i <= to; i++ {
		all = append(all, translatortest.Item(uint64(i), channel, fmt.Sprint(i)))
	}
	return all
}

func TestEventsThatAreThereTogetherAreOnePublish(t *testing.T) {
	server := standIn(t, ablytest.Options{})
	s := open(t, proxy.RoleMirror, settings(server))
	batch := append(items(1, 40, "a"), items(41, 60, "b")...)
	if got := translatortest.Codes(s.Publish(t.Context(), batch)); strings.Trim(got, "OK ") != "" {
		t.Fatalf("results %s", got)
	}
	if got := server.Publishes(); got != 2 {
		t.Errorf("%d publishes for events of two channels, want 2", got)
	}
	for i, m := range server.Messages("public:a") {
		if m.Data != fmt.Sprint(i+1) {
			t.Fatalf("message %d is %v", i+1, m.Data)
		}
	}
}

func TestPublishesStayWithinTheSize(t *testing.T) {
	server := standIn(t, ablytest.Options{})
	s := open(t, proxy.RoleMirror, settings(server))
	var batch []translators.Envelope
	for i := range 10 {
		batch = append(batch, translatortest.Item(uint64(i+1), "a", strings.Repeat("x", 20_000)))
	}
	batch = append(batch, translatortest.Item(11, "a", strings.Repeat("x", 65_500)), translatortest.Item(12, "a", "small"))
	want := strings.Repeat("OK ", 10) + "REJECTED_SIZE OK"
	if got := translatortest.Codes(s.Publish(t.Context(), batch)); got != want {
		t.Errorf("results %s, want %s", got, want)
	}
	if got := server.Publishes(); got != 4 {
		t.Errorf("%d publishes for 200 kB, want 4", got)
	}
}

func TestRepeatsArriveOnce(t *testing.T) {
	server := standIn(t, ablytest.Options{})
	s := open(t, proxy.RoleMirror, settings(server))
	w := translatortest.Watch(t, s, "a")
	for name, batch := range map[string][]translators.Envelope{"one": items(1, 1, "a"), "several": items(2, 9, "a")} {
		for range 2 {
			if got := translatortest.Codes(s.Publish(t.Context(), batch)); strings.Trim(got, "OK ") != "" {
				t.Fatalf("%s: results %s", name, got)
			}
		}
	}
	// What goes further than an earlier publish is not taken for it.
	s.Publish(t.Context(), items(2, 12, "a"))
	translatortest.WaitFor(t, "the last event", func() bool {
		seen := w.Delivered()
		return len(seen) > 0 && seen[len(seen)-1].ID.Seq == 12
	})
	if got := len(w.Delivered()); got != 9+11 {
		t.Errorf("%d events, want 9 without repeats and then 11", got)
	}
}

func TestBeyondTheRateIsThrottledNotLost(t *testing.T) {
	t.Run("by the translator, before Ably does", func(t *testing.T) {
		server := standIn(t, ablytest.Options{})
		s := open(t, proxy.RoleMirror, settings(server))
		const n = 300
		got := make([]translators.Result, n)
		var wg sync.WaitGroup
		for i := range n { // apart, so that none share a publish
			wg.Go(func() { got[i] = s.Publish(t.Context(), items(i+1, i+1, "busy"))[0] })
		}
		wg.Wait()
		accepted := 0
		for _, r := range got {
			switch {
			case r.Code == translators.CodeOK:
				accepted++
			case r.Code != translators.CodeThrottled || r.RetryAfter <= 0:
				t.Errorf("answered %+v, want OK, or THROTTLED and for how long", r)
			}
		}
		if accepted == n || accepted < 25 {
			t.Errorf("%d of %d were accepted, want those that the rate allows", accepted, n)
		}
		if stored := len(server.Messages("public:busy")); stored != accepted {
			t.Errorf("%d are stored and %d were acknowledged", stored, accepted)
		}
	})
	t.Run("by Ably, when it allows less than it is said to", func(t *testing.T) {
		server := standIn(t, ablytest.Options{PublishesPerSecond: 2})
		s := open(t, proxy.RoleMirror, settings(server))
		var got []translators.Result
		for i := range 4 {
			got = append(got, s.Publish(t.Context(), items(i+1, i+1, "a"))...)
		}
		if c := translatortest.Codes(got); c != "OK OK THROTTLED THROTTLED" {
			t.Errorf("results %s", c)
		}
		if !strings.Contains(got[3].Detail, "42911") {
			t.Errorf("detail %q does not say Ably's code", got[3].Detail)
		}
	})
}

func TestChannelsAreSpreadOverConnections(t *testing.T) {
	server := standIn(t, ablytest.Options{ChannelsPerConnection: 3})
	s := open(t, proxy.RoleShadow, settings(server, "channels_per_connection", 3))
	var watchers []*translatortest.Watcher
	for i := range 7 {
		watchers = append(watchers, translatortest.Watch(t, s, fmt.Sprintf("c%d", i)))
	}
	if got := server.Connections(); got != 3 {
		t.Errorf("%d connections for 7 channels at 3 each, want 3", got)
	}
	for i := range 7 {
		s.Publish(t.Context(), items(i+1, i+1, fmt.Sprintf("c%d", i)))
	}
	for i, w := range watchers {
		translatortest.WaitFor(t, fmt.Sprintf("the event on c%d", i), func() bool { return len(w.Delivered()) == 1 })
	}
}

func TestABridgeDoesNotHearItself(t *testing.T) {
	server := standIn(t, ablytest.Options{ChannelsPerConnection: 1})
	bridge := open(t, proxy.RoleBridge, settings(server, "channels_per_connection", 1))
	other := open(t, proxy.RoleMirror, settings(server))
	first, second := translatortest.Watch(t, bridge, "a"), translatortest.Watch(t, bridge, "b")
	bridge.Publish(t.Context(), append(items(1, 1, "a"), items(2, 2, "b")...))
	other.Publish(t.Context(), append(items(3, 3, "a"), items(4, 4, "b")...))
	translatortest.WaitFor(t, "the foreign events", func() bool { return len(first.Delivered()) > 0 && len(second.Delivered()) > 0 })
	if a, b := first.Delivered()[0].ID.Seq, second.Delivered()[0].ID.Seq; a != 3 || b != 4 {
		t.Errorf("the bridge was shown events %d and %d, want 3 and 4", a, b)
	}
}

func TestWhatAblyDoesToConnections(t *testing.T) {
	gaps := func(w *translatortest.Watcher) int {
		n := 0
		for _, s := range w.Told() {
			if s.State == translators.StateGap {
				n++
			}
		}
		return n
	}
	for name, tc := range map[string]struct {
		fault func(*ablytest.Server)
		gaps  int
	}{
		"cut, and resumed without a hole":        {func(s *ablytest.Server) { s.CutConnections() }, 0},
		"sent away, and resumed without a hole":  {func(s *ablytest.Server) { s.Disconnect() }, 0},
		"tokens expire, and are renewed":         {func(s *ablytest.Server) { s.ExpireTokens() }, 0},
		"cut, and cannot resume: a hole is told": {func(s *ablytest.Server) { s.FailResume(true); s.CutConnections() }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			server := standIn(t, ablytest.Options{})
			s := open(t, proxy.RoleShadow, settings(server))
			other := open(t, proxy.RoleMirror, settings(server))
			w := translatortest.Watch(t, s, "a")
			began := time.Now()
			tc.fault(server)
			sent := 0
			translatortest.WaitFor(t, "an event after the fault", func() bool {
				if sent++; sent%20 == 1 {
					other.Publish(t.Context(), items(sent, sent, "a"))
				}
				return len(w.Delivered()) > 0 && gaps(w) >= tc.gaps
			})
			if got := gaps(w); got != tc.gaps {
				t.Errorf("%d holes were told, want %d: %+v", got, tc.gaps, w.Told())
			}
			for _, state := range w.Told() {
				if state.State == translators.StateGap && (state.From.Before(began) || state.To.Before(state.From)) {
					t.Errorf("the hole is said to be from %v to %v, and began after %v", state.From, state.To, began)
				}
			}
		})
	}
}

func TestRightsAreToldApart(t *testing.T) {
	server := standIn(t, ablytest.Options{})
	server.Deny("private:secret")
	s := open(t, proxy.RoleMirror, settings(server))
	got := s.Publish(t.Context(), append(items(1, 1, "private-secret"), items(2, 2, "open")...))
	if translatortest.Codes(got) != "REJECTED_AUTH OK" {
		t.Errorf("results %s", translatortest.Codes(got))
	}
	_, err := s.(translators.Subscriber).Subscribe(t.Context(), "private-secret", &translatortest.Watcher{})
	if err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("Subscribe: %v, want Ably's refusal", err)
	}
}

func TestPresenceIsFull(t *testing.T) {
	server := standIn(t, ablytest.Options{MembersPerChannel: 2})
	s := open(t, proxy.RoleMirror, settings(server))
	want := []proxy.Member{{UserID: "a"}, {UserID: "b"}, {UserID: "c"}}
	err := s.(translators.Presencer).SetMembers(t.Context(), "presence-a", want)
	if err == nil || !strings.Contains(err.Error(), "maximum member limit") {
		t.Errorf("SetMembers: %v, want Ably's refusal", err)
	}
	if err := s.(translators.Presencer).SetMembers(t.Context(), "presence-a", want[:1]); err != nil {
		t.Fatal(err)
	}
	translatortest.WaitFor(t, "one member", func() bool {
		o, err := s.(translators.Querier).Query(t.Context(), "presence-a")
		return err == nil && len(o.Members) == 1
	})
}

func TestOpenSaysWhatToChange(t *testing.T) {
	server := standIn(t, ablytest.Options{})
	for name, tc := range map[string]struct {
		settings translators.Settings
		want     string
	}{
		"no key":               {translators.Settings{}, "settings.key: is required"},
		"half a key":           {translators.Settings{"key": "app.key"}, "settings.key: must be an API key"},
		"a host that is a URL": {settings(server, "host", "https://x/"), "settings.host: is \"https://x/\""},
		"too many channels":    {settings(server, "channels_per_connection", 201), "settings.channels_per_connection: is 201; it must be at most 200"},
		"a wrong secret":       {settings(server, "key", "app.key:wrong-one"), "is settings.key valid"},
		"no server there":      {settings(server, "host", "127.0.0.1:1"), "connect to Ably"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ably.New().Open(t.Context(), translators.Binding{App: "app", Settings: tc.settings, Log: zerolog.Nop()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: %v, want %q in it", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "wrong-one") {
				t.Errorf("the error shows the secret: %v", err)
			}
			if _, ok := errors.AsType[translators.Problems](err); strings.HasPrefix(tc.want, "settings.") && !ok {
				t.Errorf("Open: %T, want translators.Problems", err)
			}
		})
	}
}

func TestDescriptionIsInOrder(t *testing.T) {
	if err := ably.New().Describe().Check(); err != nil {
		t.Error(err)
	}
}

func TestReportTellsOfADeadConnection(t *testing.T) {
	server := standIn(t, ablytest.Options{})
	s := open(t, proxy.RoleMirror, settings(server))
	reporter := s.(translators.Reporter)
	if r := reporter.Report(); !r.Healthy {
		t.Fatalf("not healthy at first: %s", r.Detail)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	translatortest.WaitFor(t, "the report of it", func() bool { return !reporter.Report().Healthy })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got := translatortest.Codes(s.Publish(ctx, items(1, 2, "a"))); got != "TRANSIENT TRANSIENT" {
		t.Errorf("results %s while Ably is away, want TRANSIENT", got)
	}
	if d := reporter.Report().Detail; strings.Contains(d, "access_token=app") {
		t.Errorf("the report shows a token: %s", d)
	}
}
