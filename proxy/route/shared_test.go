package route_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/route"
)

// store is what nodes share, in memory.
type store struct {
	mu      sync.Mutex
	away    error
	records map[string][][]byte
	before  func() // called once before the next Append
}

func newStore() *store { return &store{records: map[string][][]byte{}} }

func (s *store) Last(_ context.Context, apps []string) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lasts := make([][]byte, len(apps))
	for i, app := range apps {
		if list := s.records[app]; len(list) > 0 {
			lasts[i] = list[len(list)-1]
		}
	}
	return lasts, s.away
}

func (s *store) All(_ context.Context, app string) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records[app]), s.away
}

func (s *store) Append(_ context.Context, app string, last []byte, records [][]byte, most int) (bool, error) {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.records[app]
	switch {
	case s.away != nil:
		return false, s.away
	case len(list) == 0 && len(last) > 0, len(list) > 0 && !bytes.Equal(list[len(list)-1], last):
		return false, nil
	}
	list = append(slices.Clip(list), records...)
	s.records[app] = list[max(len(list)-most, 0):]
	return true, nil
}

func (s *store) lose(n int) {
	s.records["1"] = s.records["1"][:len(s.records["1"])-n]
}

// node returns one of several nodes; shared may be nil at first.
func node(t *testing.T, a *proxy.App, shared route.Shared) *fixture {
	t.Helper()
	registry, err := apps.New([]*proxy.App{a})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "db"), registry: registry, shared: shared}
	f.start()
	t.Cleanup(func() { f.db.Close() })
	return f
}

func (f *fixture) sync() {
	f.t.Helper()
	f.ok(f.router.Sync(f.t.Context()))
}

// journal returns the moves in short form.
func (f *fixture) journal() string {
	f.t.Helper()
	entries, err := f.router.History("1")
	f.ok(err)
	var parts []string
	for _, e := range entries {
		switch {
		case e.Note != "":
			parts = append(parts, fmt.Sprintf("%d!%s", e.Seq, e.Note))
		case e.Undoes != 0:
			parts = append(parts, fmt.Sprintf("%d<%d", e.Seq, e.Undoes))
		default:
			parts = append(parts, fmt.Sprintf("%d>%s", e.Seq, e.To))
		}
	}
	return strings.Join(parts, " ")
}

func (f *fixture) journalled(want string) {
	f.t.Helper()
	if got := f.journal(); got != want {
		f.t.Errorf("the journal has %q, want %q", got, want)
	}
}

func TestAMoveOnOneNodeReachesAll(t *testing.T) {
	s := newStore()
	a, b := node(t, app(proxy.StageObserve, rooms), s), node(t, app(proxy.StageObserve, rooms), s)
	changed := b.router.Changed()
	a.ok(a.set(route.Request{Stage: proxy.StageShadow}))
	a.ok(a.set(route.Request{Channels: "presence-room-*", Stage: proxy.StageCanary, Percent: 10}))
	b.sync()
	select {
	case <-changed:
	default:
		t.Error("the other node's watchers are told of nothing")
	}
	for _, n := range []*fixture{a, b} {
		n.at("shadow presence-room-*=canary/10/channel")
		n.journalled("1>shadow 2>canary 10% by channel")
	}
	changed = b.router.Changed()
	b.sync()
	select {
	case <-changed:
		t.Error("watchers are told of a change though there is none")
	default:
	}

	// A rollback on the other one knows what to take back, and goes on where
	// one on the first has ended.
	b.ok(b.rollback("presence-room-*"))
	a.sync()
	a.at("shadow presence-room-*=shadow")
	a.ok(a.set(route.Request{Stage: proxy.StageCutover}))
	a.ok(a.rollback(""))
	b.ok(b.rollback(""))
	a.sync()
	for _, n := range []*fixture{a, b} {
		n.at("observe presence-room-*=shadow")
		n.journalled("1>shadow 2>canary 10% by channel 3<2 4>cutover 5<4 6<1")
	}
	if err := a.rollback(""); !errors.Is(err, route.ErrNothing) {
		t.Errorf("a rollback of nothing: %v, want ErrNothing", err)
	}

	// One that comes later reads it all.
	c := node(t, app(proxy.StageObserve, rooms), s)
	if err := c.router.Behind(); !errors.Is(err, route.ErrUnread) {
		t.Errorf("before it has read anything, Behind() = %v", err)
	}
	c.sync()
	if err := c.router.Behind(); err != nil {
		t.Errorf("Behind() = %v", err)
	}
	c.journalled("1>shadow 2>canary 10% by channel 3<2 4>cutover 5<4 6<1")
	if left, moved, err := c.router.Left("1"); err != nil || !moved || left.IsZero() {
		t.Errorf("Left() = %v, %t, %v", left, moved, err)
	}
}

func TestOfTwoMovesAtOnceOneIsRefused(t *testing.T) {
	s := newStore()
	a, b := node(t, app(proxy.StageObserve), s), node(t, app(proxy.StageObserve), s)
	s.before = func() { b.ok(b.set(route.Request{Stage: proxy.StageMirror})) }
	if err := a.set(route.Request{Stage: proxy.StageShadow}); !errors.Is(err, route.ErrOvertaken) {
		t.Errorf("the slower one: %v, want ErrOvertaken", err)
	}
	a.at("observe")
	a.ok(a.set(route.Request{Stage: proxy.StageShadow})) // having looked again
	b.sync()
	b.at("shadow")
	b.journalled("1>mirror 2>shadow")
	s.before = func() { b.ok(b.rollback("")) }
	if err := a.rollback(""); !errors.Is(err, route.ErrOvertaken) {
		t.Errorf("the slower rollback: %v, want ErrOvertaken", err)
	}
	a.sync()
	a.at("mirror")
}

func TestWithoutTheOthersNothingIsMoved(t *testing.T) {
	s := newStore()
	a := node(t, app(proxy.StageObserve), s)
	a.sync()
	a.ok(a.set(route.Request{Stage: proxy.StageShadow}))
	s.away = errors.New("connection refused")
	if err := a.set(route.Request{Stage: proxy.StageCutover}); !errors.Is(err, route.ErrAway) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a move: %v, want ErrAway and why", err)
	}
	if err := a.rollback(""); !errors.Is(err, route.ErrAway) {
		t.Errorf("a rollback: %v, want ErrAway", err)
	}
	if err := a.router.Sync(t.Context()); !errors.Is(err, route.ErrAway) || !errors.Is(a.router.Behind(), route.ErrAway) {
		t.Errorf("Sync() = %v, Behind() = %v", err, a.router.Behind())
	}
	a.at("shadow")
	a.restart()
	a.at("shadow")
	a.journalled("1>shadow")
	if err := a.router.Sync(t.Context()); err == nil || !errors.Is(a.router.Behind(), route.ErrUnread) || !errors.Is(a.router.Behind(), route.ErrAway) {
		t.Errorf("after a restart Sync() = %v, Behind() = %v, want ErrUnread and why", err, a.router.Behind())
	}
	s.away = nil
	a.sync()
	if err := a.router.Behind(); err != nil {
		t.Errorf("Behind() = %v", err)
	}
	a.ok(a.rollback(""))
	a.at("observe")
}

func TestWhatIsForgottenIsGivenBack(t *testing.T) {
	for name, lost := range map[string]int{"all of it": 4, "the last two": 2} {
		t.Run(name, func(t *testing.T) {
			s := newStore()
			a, b := node(t, app(proxy.StageObserve), s), node(t, app(proxy.StageObserve), s)
			a.ok(a.set(route.Request{Stage: proxy.StageShadow}))
			a.ok(a.set(route.Request{Stage: proxy.StageMirror}))
			b.sync() // and knows of no later ones
			a.ok(a.set(route.Request{Stage: proxy.StageCutover}))
			a.ok(a.rollback(""))
			s.lose(lost)
			b.sync()
			a.sync()
			b.sync()
			for _, n := range []*fixture{a, b} {
				n.at("mirror")
				n.journalled("1>shadow 2>mirror 3>cutover 4<3")
			}
			if len(s.records["1"]) != 4 {
				t.Errorf("%d records, want 4", len(s.records["1"]))
			}
		})
	}
}

// What was moved while a node's last move was forgotten is the word.
func TestOfTwoBranchesTheSharedOneHolds(t *testing.T) {
	s := newStore()
	a, b := node(t, app(proxy.StageObserve), s), node(t, app(proxy.StageObserve), s)
	a.ok(a.set(route.Request{Stage: proxy.StageShadow}))
	b.sync()
	a.ok(a.set(route.Request{Stage: proxy.StageCutover}))
	s.lose(1)
	b.ok(b.set(route.Request{Stage: proxy.StageMirror}))
	a.sync()
	for _, n := range []*fixture{a, b} {
		n.at("mirror")
		n.journalled("1>shadow 2>mirror")
	}
}

// Moves from before a gateway had several nodes are not lost: those of the
// node that is the first to come.
func TestOwnMovesBecomeEverybodys(t *testing.T) {
	s := newStore()
	a := node(t, app(proxy.StageObserve, rooms), nil)
	a.ok(a.set(route.Request{Stage: proxy.StageShadow}))
	a.ok(a.router.Note("1", "", "breaker", "something"))
	a.ok(a.set(route.Request{Channels: "x", Stage: proxy.StageMirror}))
	a.ok(a.set(route.Request{Stage: proxy.StageCutover}))
	a.ok(a.rollback(""))
	a.shared = s
	a.restart()
	a.at("shadow x=mirror presence-room-*=shadow")
	b := node(t, app(proxy.StageObserve, rooms), s)
	b.sync()
	b.at("observe presence-room-*=shadow")
	a.sync()
	b.sync()
	b.at("shadow x=mirror presence-room-*=shadow")
	b.journalled("1>shadow 2>mirror 3>cutover 4<3")
	a.journalled("1>shadow 0!something 2>mirror 3>cutover 4<3") // notes stay where they were made
	b.ok(b.rollback(""))
	b.ok(b.rollback("x"))
	a.sync()
	a.at("observe presence-room-*=shadow")
}

func TestOldRecordsAreDropped(t *testing.T) {
	s := newStore()
	for i := range 999 {
		s.records["1"] = append(s.records["1"], fmt.Appendf(nil,
			`{"seq":%d,"who":"a","app":"1","channels":"x","from":{"stage":"observe"},"to":{"stage":"cutover"},"holds":[{"channels":"x","state":{"stage":"cutover"},"seq":1}]}`, i+1))
	}
	a, b := node(t, app(proxy.StageObserve), s), node(t, app(proxy.StageObserve), s)
	for _, stage := range []proxy.Stage{proxy.StageShadow, proxy.StageMirror, proxy.StageCutover} {
		a.ok(a.set(route.Request{Stage: stage}))
	}
	b.sync()
	for _, n := range []*fixture{a, b} {
		n.at("cutover x=cutover")
		entries, err := n.router.History("1")
		if err != nil || len(entries) != 1000 || entries[0].Seq != 3 {
			t.Errorf("%d entries, from %d: %v", len(entries), entries[0].Seq, err)
		}
	}
	s.records["1"] = nil
	a.sync()
	if len(s.records["1"]) != 1000 {
		t.Errorf("%d records are given back, want 1000", len(s.records["1"]))
	}
}

// A configured stage that one node has read already is that node's own.
func TestEachNodeLaysMovesOverItsOwnConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a, b := node(t, app(proxy.StageObserve), s), node(t, app(proxy.StageObserve), s)
		ctx, stop := context.WithCancel(t.Context())
		var nodes sync.WaitGroup
		for _, n := range []*fixture{a, b} {
			nodes.Go(func() { n.ok(n.router.Run(ctx)) })
		}
		a.ok(a.set(route.Request{Stage: proxy.StageMirror}))
		time.Sleep(1500 * time.Millisecond) // of the bubble
		b.at("mirror")
		a.ok(a.registry.Swap([]*proxy.App{app(proxy.StageCutover)}))
		time.Sleep(1500 * time.Millisecond)
		a.at("cutover")
		b.at("mirror")
		b.ok(b.registry.Swap([]*proxy.App{app(proxy.StageCutover)}))
		time.Sleep(1500 * time.Millisecond)
		b.at("cutover")
		b.ok(b.set(route.Request{Stage: proxy.StageShadow}))
		time.Sleep(1500 * time.Millisecond)
		a.at("shadow")
		a.journalled("1>mirror 2>shadow")
		stop()
		nodes.Wait()
	})
}

// TestOthersAreToldOfAMove: who hears of it does not wait for the next look.
func TestOthersAreToldOfAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a, b := node(t, app(proxy.StageObserve), s), node(t, app(proxy.StageObserve), s)
		a.moved = func(context.Context) { b.router.Look(); b.router.Look() }
		a.restart()
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { b.ok(b.router.Run(ctx)) })
		synctest.Wait()
		a.ok(a.set(route.Request{Stage: proxy.StageMirror}))
		synctest.Wait() // no time passes
		b.at("mirror")
		a.ok(a.rollback(""))
		synctest.Wait()
		b.at("observe")
		stop()
		running.Wait()
	})
}

func TestHostileRecordsChangeNothing(t *testing.T) {
	const good = `{"seq":2,"at":"2026-01-01T00:00:00Z","who":"eve","app":"1","from":{"stage":"shadow"},"to":{"stage":"cutover"},"holds":[{"state":{"stage":"cutover"},"configured":{"stage":"observe"},"seq":2}]}`
	for name, text := range map[string]string{
		"no JSON":                     "\x00",
		"of another app":              strings.Replace(good, `"app":"1"`, `"app":"2"`, 1),
		"of nobody":                   strings.Replace(good, `"eve"`, `""`, 1),
		"a note":                      strings.Replace(good, `"who"`, `"note":"x","who"`, 1),
		"without a number":            strings.Replace(good, `"seq":2,"at"`, `"seq":0,"at"`, 1),
		"a number too far":            strings.Replace(good, `"seq":2,"at"`, `"seq":3,"at"`, 1),
		"takes back what comes later": strings.Replace(good, `"who"`, `"undoes":2,"who"`, 1),
		"to no stage":                 strings.Replace(good, `"to":{"stage":"cutover"}`, `"to":{"stage":"moon"}`, 1),
		"to nowhere":                  strings.Replace(good, `"to":{"stage":"cutover"}`, `"to":{}`, 1),
		"a share of a cutover":        strings.Replace(good, `"to":{"stage":"cutover"}`, `"to":{"stage":"cutover","percent":5}`, 1),
		"a share above 100":           strings.Replace(good, `"to":{"stage":"cutover"}`, `"to":{"stage":"canary","percent":500}`, 1),
		"a share of something else":   strings.Replace(good, `"to":{"stage":"cutover"}`, `"to":{"stage":"canary","by":"moon"}`, 1),
		"channels that are none":      strings.Replace(good, `"who"`, `"channels":"a b","who"`, 1),
		"what holds is no stage":      strings.Replace(good, `"state":{"stage":"cutover"}`, `"state":{}`, 1),
		"what holds comes later":      strings.Replace(good, `"seq":2}]`, `"seq":9}]`, 1),
		"more than a record may be":   strings.Replace(good, `"eve"`, `"`+strings.Repeat("e", 300<<10)+`"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore()
			a := node(t, app(proxy.StageObserve), s)
			a.sync()
			a.ok(a.set(route.Request{Stage: proxy.StageShadow}))
			s.records["1"] = append(s.records["1"], []byte(text))
			if err := a.router.Sync(t.Context()); err == nil || errors.Is(err, route.ErrAway) || a.router.Behind() == nil {
				t.Errorf("Sync() = %v, Behind() = %v", err, a.router.Behind())
			}
			if err := a.set(route.Request{Stage: proxy.StageMirror}); err == nil {
				t.Error("it was moved on top of that")
			}
			a.at("shadow")
			s.lose(1)
			a.sync()
			a.ok(a.set(route.Request{Stage: proxy.StageMirror}))
		})
	}
	t.Run("and a good one does", func(t *testing.T) {
		s := newStore()
		a := node(t, app(proxy.StageObserve), s)
		a.ok(a.set(route.Request{Stage: proxy.StageShadow}))
		s.records["1"] = append(s.records["1"], []byte(good))
		a.sync()
		a.at("cutover")
	})
}
