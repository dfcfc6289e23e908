package route_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
)

// gate objects to moves to its stages.
type gate map[proxy.Stage]string

func (g gate) Judge(_ context.Context, m route.Move) ([]route.Objection, error) {
	switch text := g[m.To.Stage]; text {
	case "":
		return nil, nil
	case "broken":
		return nil, errors.New("no report")
	default:
		return []route.Objection{{Gate: "report", Text: text}}, nil
	}
}

func app(stage proxy.Stage, rules ...proxy.Rule) *proxy.App {
	a := proxy.Defaults()
	a.ID, a.Stage, a.Rules = "1", stage, rules
	a.Credentials = []proxy.Credential{{Key: "k", Secret: proxy.NewSecret("s")}}
	a.Upstream = &proxy.Upstream{WebSocket: "ws://127.0.0.1:1", API: "http://127.0.0.1:1"}
	return &a
}

type fixture struct {
	t        *testing.T
	path     string
	db       *bbolt.DB
	registry *apps.Registry
	gate     route.Gate
	shared   route.Shared // nil: this is the only node
	moved    func(context.Context)
	router   *route.Router
}

func open(t *testing.T, a *proxy.App, g route.Gate) *fixture {
	t.Helper()
	registry, err := apps.New([]*proxy.App{a})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "db"), registry: registry, gate: g}
	f.start()
	t.Cleanup(func() { f.db.Close() })
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	var err error
	if f.db, err = bbolt.Open(f.path, 0o600, &bbolt.Options{NoSync: true}); err != nil {
		f.t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.router, err = route.New(route.Settings{
		DB: f.db, Apps: f.registry, Gate: f.gate, Shared: f.shared, Moved: f.moved, Now: func() time.Time { now = now.Add(time.Hour); return now }, Log: zerolog.Nop(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) restart() {
	f.t.Helper()
	if err := f.db.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.start()
}

func (f *fixture) set(q route.Request) error {
	q.App, q.Who = "1", "ann"
	_, err := f.router.Set(f.t.Context(), q)
	return err
}

func (f *fixture) rollback(channels string) error {
	_, err := f.router.Rollback(f.t.Context(), route.Undo{App: "1", Channels: channels, Who: "ann"})
	return err
}

// where returns the position in short form.
func (f *fixture) where() string {
	a, _ := f.registry.ByID("1")
	p := f.router.Position(a)
	parts := []string{p.Stage.String()}
	for _, r := range p.Rules {
		part := r.Channels + "=" + r.Stage.String()
		if r.Stage == proxy.StageCanary {
			part += fmt.Sprintf("/%d/%s", r.Percent, r.By)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func (f *fixture) at(want string) {
	f.t.Helper()
	if got := f.where(); got != want {
		f.t.Errorf("at %q, want %q", got, want)
	}
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Error(err)
	}
}

var rooms = proxy.Rule{Channels: "presence-room-*", Stage: proxy.StageShadow}

func TestMovesLieOnTopOfTheConfiguration(t *testing.T) {
	f := open(t, app(proxy.StageObserve, rooms), nil)
	f.at("observe presence-room-*=shadow")
	f.ok(f.set(route.Request{Stage: proxy.StageShadow}))
	f.at("shadow presence-room-*=shadow")
	f.ok(f.set(route.Request{Channels: "presence-room-*", Stage: proxy.StageCanary, Percent: 10}))
	f.at("shadow presence-room-*=canary/10/channel")
	f.ok(f.set(route.Request{Channels: "news", Stage: proxy.StageMirror}))
	f.at("shadow news=mirror presence-room-*=canary/10/channel")
	f.ok(f.set(route.Request{Channels: "*", Stage: proxy.StageCanary, Percent: 5, By: proxy.ByUser}))
	f.at("canary news=mirror presence-room-*=canary/10/channel *=canary/5/user")
	f.restart()
	f.at("canary news=mirror presence-room-*=canary/10/channel *=canary/5/user")
	f.ok(f.set(route.Request{Stage: proxy.StageObserve}))
	f.ok(f.set(route.Request{Channels: "presence-room-*", Stage: proxy.StageShadow}))
	f.at("observe news=mirror presence-room-*=shadow")
}

func TestAConfiguredCatchAllIsTheAppsOwnStage(t *testing.T) {
	f := open(t, app(proxy.StageExited, rooms, proxy.Rule{Channels: "*", Stage: proxy.StageObserve}, proxy.Rule{Channels: "x", Stage: proxy.StageExited}), nil)
	f.at("observe presence-room-*=shadow")
	f.ok(f.set(route.Request{Stage: proxy.StageCutover}))
	f.at("cutover presence-room-*=shadow")
	f.ok(f.rollback("*"))
	f.at("observe presence-room-*=shadow")
}

func TestRollbackTakesBackOneMoveAtATime(t *testing.T) {
	f := open(t, app(proxy.StageObserve), gate{proxy.StageMirror: "not ready"})
	f.ok(f.set(route.Request{Stage: proxy.StageShadow}))
	f.ok(f.set(route.Request{Stage: proxy.StageCutover}))
	f.ok(f.set(route.Request{Channels: "a*", Stage: proxy.StageCanary, Percent: 1}))
	f.ok(f.set(route.Request{Channels: "a*", Stage: proxy.StageCanary, Percent: 2}))
	f.ok(f.rollback("a*"))
	f.at("cutover a*=canary/1/channel")
	f.restart()
	f.ok(f.rollback("a*"))
	f.at("cutover")
	if err := f.rollback("a*"); !errors.Is(err, route.ErrNothing) {
		t.Errorf("a third rollback: %v, want ErrNothing", err)
	}
	f.ok(f.rollback(""))
	f.at("shadow")
	f.ok(f.set(route.Request{Stage: proxy.StageCutover}))
	f.ok(f.rollback(""))
	f.ok(f.rollback(""))
	f.at("observe")
	if err := f.rollback(""); !errors.Is(err, route.ErrNothing) {
		t.Errorf("a rollback of nothing: %v, want ErrNothing", err)
	}
}

func TestGatesRefuseForwardMoves(t *testing.T) {
	f := open(t, app(proxy.StageShadow), gate{proxy.StageMirror: "loss 2 % on chat-*", proxy.StageCanary: "broken"})
	err := f.set(route.Request{Stage: proxy.StageMirror})
	var refused *route.Refused
	if !errors.As(err, &refused) || len(refused.Objections) != 1 || refused.Move.To.Stage != proxy.StageMirror {
		t.Fatalf("Set() = %v, want a Refused", err)
	}
	if want := "refused to move app 1 from shadow to mirror: report: loss 2 % on chat-*"; err.Error() != want {
		t.Errorf("text %q, want %q", err, want)
	}
	if err := f.set(route.Request{Stage: proxy.StageCanary, Force: true}); err == nil || errors.As(err, &refused) {
		t.Errorf("a gate that cannot judge let it pass: %v", err)
	}
	f.at("shadow")
	f.ok(f.set(route.Request{Stage: proxy.StageMirror, Force: true, Why: "staff only"}))
	f.at("mirror")
	f.ok(f.set(route.Request{Stage: proxy.StageObserve}))
	f.ok(f.rollback(""))
	f.at("mirror")
	entries, err := f.router.History("1")
	if err != nil || len(entries) != 3 {
		t.Fatalf("History() = %v, %v", entries, err)
	}
	e := entries[0]
	if e.Seq != 1 || e.Who != "ann" || e.Why != "staff only" || e.From.Stage != proxy.StageShadow || e.To.Stage != proxy.StageMirror ||
		len(e.Overridden) != 1 || e.At.IsZero() {
		t.Errorf("first entry %+v", e)
	}
	if entries[2].Undoes != 2 {
		t.Errorf("the rollback undoes %d, want 2", entries[2].Undoes)
	}
}

func TestAShareIsGatedOnlyWhenItGrows(t *testing.T) {
	f := open(t, app(proxy.StageShadow, proxy.Rule{Channels: "a", Stage: proxy.StageCanary, Percent: 50, By: proxy.ByChannel}), gate{proxy.StageCanary: "no"})
	f.ok(f.set(route.Request{Channels: "a", Stage: proxy.StageCanary, Percent: 49}))
	var refused *route.Refused
	if err := f.set(route.Request{Channels: "a", Stage: proxy.StageCanary, Percent: 51}); !errors.As(err, &refused) {
		t.Errorf("a growing share: %v, want a Refused", err)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	f := open(t, app(proxy.StageShadow), gate{proxy.StageCutover: "no"})
	m, err := f.router.DryRun(t.Context(), route.Request{App: "1", Who: "ann", Stage: proxy.StageMirror})
	if err != nil || m.String() != "move app 1 from shadow to mirror" {
		t.Errorf("DryRun() = %v, %v", m, err)
	}
	if _, err := f.router.DryRun(t.Context(), route.Request{App: "1", Who: "ann", Stage: proxy.StageCutover}); err == nil {
		t.Error("a dry run passes a gate that objects")
	}
	f.at("shadow")
	if entries, err := f.router.History(""); err != nil || len(entries) != 0 {
		t.Errorf("History() = %v, %v", entries, err)
	}
}

func TestInvalidMoves(t *testing.T) {
	f := open(t, app(proxy.StageShadow), nil)
	none := app(proxy.StageExited)
	none.ID, none.Upstream, none.Credentials[0].Key = "2", nil, "k2"
	current, _ := f.registry.ByID("1")
	if err := f.registry.Swap([]*proxy.App{current, none}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		request route.Request
		want    error
	}{
		"no such app":                  {route.Request{App: "3", Who: "a", Stage: proxy.StageShadow}, route.ErrNoApp},
		"nobody moves it":              {route.Request{App: "1", Stage: proxy.StageMirror}, route.ErrInvalid},
		"no stage":                     {route.Request{App: "1", Who: "a"}, route.ErrInvalid},
		"a share without a canary":     {route.Request{App: "1", Who: "a", Stage: proxy.StageMirror, Percent: 1}, route.ErrInvalid},
		"a share above 100":            {route.Request{App: "1", Who: "a", Stage: proxy.StageCanary, Percent: 101}, route.ErrInvalid},
		"a share of something else":    {route.Request{App: "1", Who: "a", Stage: proxy.StageCanary, By: "socket"}, route.ErrInvalid},
		"channels that cannot be":      {route.Request{App: "1", Who: "a", Stage: proxy.StageMirror, Channels: "a b*"}, route.ErrInvalid},
		"the stage that it has":        {route.Request{App: "1", Who: "a", Stage: proxy.StageShadow}, route.ErrUnchanged},
		"an app with nothing to leave": {route.Request{App: "2", Who: "a", Stage: proxy.StageObserve}, route.ErrNoUpstream},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := f.router.Set(t.Context(), tc.request); !errors.Is(err, tc.want) {
				t.Errorf("Set() = %v, want %v", err, tc.want)
			}
		})
	}
	if _, err := f.router.Rollback(t.Context(), route.Undo{App: "3", Who: "a"}); !errors.Is(err, route.ErrNoApp) {
		t.Errorf("Rollback() of no app = %v", err)
	}
}

// TestAnEditedConfigurationOvertakesAMove: the later word holds, at once and
// after a restart, and the journal says so.
func TestAnEditedConfigurationOvertakesAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, app(proxy.StageObserve, rooms), nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.router.Run(ctx) }()
		synctest.Wait()
		f.ok(f.set(route.Request{Stage: proxy.StageCutover}))
		f.ok(f.set(route.Request{Channels: rooms.Channels, Stage: proxy.StageMirror}))
		edited := app(proxy.StageShadow, rooms)
		if err := f.registry.Swap([]*proxy.App{edited}); err != nil {
			t.Fatal(err)
		}
		f.at("shadow presence-room-*=mirror") // before Run has seen it
		synctest.Wait()
		f.at("shadow presence-room-*=mirror")
		stop()
		f.ok(<-done)
		f.restart()
		f.at("shadow presence-room-*=mirror")
		entries, err := f.router.History("1")
		if err != nil || len(entries) != 3 || entries[2].Who != "configuration" || entries[2].To.Stage != proxy.StageShadow {
			t.Errorf("History() = %+v, %v", entries, err)
		}
		if err := f.rollback(""); !errors.Is(err, route.ErrNothing) {
			t.Errorf("a move from before the edit can be taken back: %v", err)
		}
	})
}

func TestChangedTellsOfMoves(t *testing.T) {
	f := open(t, app(proxy.StageObserve), nil)
	changed := f.router.Changed()
	f.ok(f.set(route.Request{Stage: proxy.StageShadow}))
	if a, ok := f.router.ByID("1"); !ok || a.Stage != proxy.StageShadow || f.router.Position(a).Stage != proxy.StageShadow {
		t.Errorf("ByID() = %v, %v", a, ok)
	}
	select {
	case <-changed:
	default:
		t.Error("Changed() is not closed after a move")
	}
}

func TestPositionDecides(t *testing.T) {
	f := open(t, app(proxy.StageObserve, rooms, proxy.Rule{Channels: "moved-*", Stage: proxy.StageCutover}), nil)
	a, _ := f.registry.ByID("1")
	p := f.router.Position(a)
	if p.Relayed() {
		t.Error("relayed, though one rule is at cutover")
	}
	if !p.Shadowed("presence-room-1") || p.Shadowed("x") {
		t.Error("shadowed channels are wrong")
	}
	for channel, want := range map[protocol.ChannelName]proxy.Leg{"moved-1": proxy.LegEngine, "presence-room-1": proxy.LegVendor, "x": proxy.LegVendor} {
		if got := p.Serves(channel, "u"); got != want {
			t.Errorf("Serves(%s) = %s, want %s", channel, got, want)
		}
	}
	for name, tc := range map[string]struct {
		app                     *proxy.App
		relayed, bridged, split bool
	}{
		"every stage is relayed": {app(proxy.StageObserve, rooms), true, false, true},
		"one is not":             {app(proxy.StageExited, rooms), false, true, true},
		"a canary":               {app(proxy.StageExited, proxy.Rule{Channels: "*", Stage: proxy.StageCanary, Percent: 99}), false, true, true},
		"a canary of all":        {app(proxy.StageExited, proxy.Rule{Channels: "*", Stage: proxy.StageCanary, Percent: 100}), false, true, false},
		"all at cutover":         {app(proxy.StageCutover), false, true, false},
		"all are gone":           {app(proxy.StageExited), false, false, false},
	} {
		f = open(t, tc.app, nil)
		if p := f.router.Position(tc.app); p.Relayed() != tc.relayed || p.Bridged() != tc.bridged || p.Split() != tc.split {
			t.Errorf("%s: relayed %v, bridged %v, split %v", name, p.Relayed(), p.Bridged(), p.Split())
		}
	}
}

func TestCanaryShares(t *testing.T) {
	tests := map[string]struct {
		by      proxy.Sticky
		channel func(i int) protocol.ChannelName
		user    func(i int) string
	}{
		"by channel":                        {proxy.ByChannel, func(i int) protocol.ChannelName { return protocol.ChannelName(fmt.Sprint("room-", i)) }, func(int) string { return "" }},
		"by user":                           {proxy.ByUser, func(int) protocol.ChannelName { return "private-x" }, func(i int) string { return fmt.Sprint(i) }},
		"by user, but of presence channels": {proxy.ByUser, func(i int) protocol.ChannelName { return protocol.ChannelName(fmt.Sprint("presence-", i)) }, func(int) string { return "u" }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var last map[int]bool
			for _, percent := range []int{0, 10, 50, 100} {
				p := &route.Position{App: "1", Rules: []proxy.Rule{{Channels: "*", Stage: proxy.StageCanary, Percent: percent, By: tc.by}}}
				moved := map[int]bool{}
				for i := range 10000 {
					if p.Serves(tc.channel(i), tc.user(i)) == proxy.LegEngine {
						moved[i] = true
					}
				}
				if n := len(moved); n < percent*100-250 || n > percent*100+250 {
					t.Errorf("%d %% are %d of 10000", percent, n)
				}
				for i := range last {
					if !moved[i] {
						t.Fatalf("%d left the share when it grew to %d %%", i, percent)
					}
				}
				last = moved
			}
		})
	}
	unknown := &route.Position{App: "1", Rules: []proxy.Rule{{Channels: "*", Stage: proxy.StageCanary, Percent: 100, By: proxy.ByUser}}}
	if unknown.Serves("x", "") != proxy.LegVendor {
		t.Error("somebody unknown is in a share of users")
	}
}

func TestMetrics(t *testing.T) {
	f := open(t, app(proxy.StageObserve, rooms, rooms), nil)
	f.ok(f.set(route.Request{Channels: "a", Stage: proxy.StageCanary, Percent: 7}))
	want := `
# HELP offramp_stage Stage of an app, and of the channels of its rules: 1 observe, 2 shadow, 3 mirror, 4 canary, 5 cutover, 6 exited.
# TYPE offramp_stage gauge
offramp_stage{app="1",channels=""} 1
offramp_stage{app="1",channels="a"} 4
offramp_stage{app="1",channels="presence-room-*"} 2
# HELP offramp_stage_canary_percent Share that a canary puts on the engine.
# TYPE offramp_stage_canary_percent gauge
offramp_stage_canary_percent{app="1",channels="a"} 7
`
	if err := testutil.CollectAndCompare(f.router, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
