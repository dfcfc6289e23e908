package tap_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/tap"
)

// room is a sink with room for a fixed number of records.
type room struct {
	left int
	seen []proxy.Record
}

func (s *room) Offer(r proxy.Record) bool {
	if s.left == 0 {
		return false
	}
	s.left--
	s.seen = append(s.seen, r)
	return true
}

func record(app string, k proxy.Kind, channel string) proxy.Record {
	return proxy.Record{Kind: k, Topic: proxy.Topic{App: app, Channel: protocol.ChannelName(channel)}}
}

func TestTapOffersWhatEachWatcherWants(t *testing.T) {
	hooks, inventory := &room{left: 9}, &room{left: 9}
	tp := tap.New(
		tap.Watcher{Name: "webhooks", Sink: hooks, Kinds: proxy.KindsOf(proxy.KindOccupied), Apps: func(id string) bool { return id == "1" }},
		tap.Watcher{Name: "inventory", Sink: inventory, Kinds: proxy.KindsOf(proxy.KindOccupied, proxy.KindPublished)},
	)
	for _, r := range []proxy.Record{
		record("1", proxy.KindOccupied, "a"), record("2", proxy.KindOccupied, "b"),
		record("1", proxy.KindPublished, "c"), record("1", proxy.KindGap, "d"),
	} {
		if !tp.Offer(r) {
			t.Errorf("Offer(%v) = false", r)
		}
	}
	if got := channels(hooks.seen); got != "a" {
		t.Errorf("webhooks saw %q, want a", got)
	}
	if got := channels(inventory.seen); got != "a b c" {
		t.Errorf("inventory saw %q, want a b c", got)
	}
	if !tp.Wants(proxy.KindPublished) || tp.Wants(proxy.KindGap) {
		t.Errorf("Wants(published), Wants(gap) = %v, %v", tp.Wants(proxy.KindPublished), tp.Wants(proxy.KindGap))
	}
}

func channels(rs []proxy.Record) string {
	var names []string
	for _, r := range rs {
		names = append(names, string(r.Topic.Channel))
	}
	return strings.Join(names, " ")
}

func TestTapCountsWhatAFullWatcherDropped(t *testing.T) {
	full, open := &room{left: 1}, &room{left: 9}
	kinds := proxy.KindsOf(proxy.KindOccupied)
	tp := tap.New(tap.Watcher{Name: "full", Sink: full, Kinds: kinds}, tap.Watcher{Name: "open", Sink: open, Kinds: kinds})
	for i, want := range []bool{true, false, false} {
		if got := tp.Offer(record("1", proxy.KindOccupied, "a")); got != want {
			t.Errorf("offer %d = %v, want %v", i, got, want)
		}
	}
	if len(open.seen) != 3 {
		t.Errorf("the watcher behind the full one saw %d records, want 3", len(open.seen))
	}
	want := `
# HELP offramp_tap_dropped_total Records that a watcher had no room for.
# TYPE offramp_tap_dropped_total counter
offramp_tap_dropped_total{sink="full"} 2
offramp_tap_dropped_total{sink="open"} 0
# HELP offramp_tap_offered_total Records offered to a watcher.
# TYPE offramp_tap_offered_total counter
offramp_tap_offered_total{sink="full"} 3
offramp_tap_offered_total{sink="open"} 3
`
	if err := testutil.CollectAndCompare(tp, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestTapDoesNotAllocate(t *testing.T) {
	tp := tap.New(tap.Watcher{Name: "feed", Sink: tap.NewFeed(1), Kinds: proxy.AllKinds})
	r := record("1", proxy.KindPublished, "a")
	if n := testing.AllocsPerRun(100, func() { tp.Offer(r) }); n != 0 {
		t.Errorf("%v allocations per offer, want 0", n)
	}
}

func TestFeedFilters(t *testing.T) {
	tests := map[string]struct {
		filter tap.Filter
		want   string
	}{
		"everything":           {tap.Filter{}, "a private-b private-c"},
		"one app":              {tap.Filter{App: "1"}, "a private-c"},
		"a channel pattern":    {tap.Filter{Channel: "private-*"}, "private-b private-c"},
		"a kind":               {tap.Filter{Kinds: proxy.KindsOf(proxy.KindVacated)}, "private-b"},
		"an app and a pattern": {tap.Filter{App: "1", Channel: "private-*"}, "private-c"},
		"nothing that occurs":  {tap.Filter{App: "3"}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			feed := tap.NewFeed(8)
			records := feed.Subscribe(t.Context(), tc.filter)
			feed.Offer(record("1", proxy.KindOccupied, "a"))
			feed.Offer(record("2", proxy.KindVacated, "private-b"))
			feed.Offer(record("1", proxy.KindOccupied, "private-c"))
			if got := channels(drain(records)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func drain(ch <-chan proxy.Record) (rs []proxy.Record) {
	for {
		select {
		case r := <-ch:
			rs = append(rs, r)
		default:
			return rs
		}
	}
}

func TestFeedDropsTheOldestForASlowSubscriber(t *testing.T) {
	feed := tap.NewFeed(2)
	slow := feed.Subscribe(t.Context(), tap.Filter{})
	quick := feed.Subscribe(t.Context(), tap.Filter{})
	var seen []proxy.Record
	for _, name := range []string{"a", "b", "c", "d"} {
		if !feed.Offer(record("1", proxy.KindOccupied, name)) {
			t.Errorf("record %s was not accepted", name)
		}
		seen = append(seen, drain(quick)...)
	}
	if got := channels(drain(slow)); got != "c d" {
		t.Errorf("slow subscriber has %q, want c d", got)
	}
	if got := channels(seen); got != "a b c d" {
		t.Errorf("quick subscriber has %q, want a b c d", got)
	}
	want := `
# HELP offramp_tap_feed_dropped_total Records pushed out of a live feed subscriber's full queue by newer ones.
# TYPE offramp_tap_feed_dropped_total counter
offramp_tap_feed_dropped_total 2
# HELP offramp_tap_feed_subscribers Subscribers of the live feed.
# TYPE offramp_tap_feed_subscribers gauge
offramp_tap_feed_subscribers 2
`
	if err := testutil.CollectAndCompare(feed, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestFeedForgetsASubscriberWhoseContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := tap.NewFeed(2)
		ctx, cancel := context.WithCancel(t.Context())
		gone, stays := feed.Subscribe(ctx, tap.Filter{}), feed.Subscribe(t.Context(), tap.Filter{})
		cancel()
		synctest.Wait()
		feed.Offer(record("1", proxy.KindOccupied, "a"))
		if got := len(drain(gone)); got != 0 {
			t.Errorf("the departed subscriber got %d records", got)
		}
		if got := len(drain(stays)); got != 1 {
			t.Errorf("the other subscriber got %d records, want 1", got)
		}
	})
}

func TestFeedKeepsOrderUnderConcurrentUse(t *testing.T) {
	feed := tap.NewFeed(4)
	records := feed.Subscribe(t.Context(), tap.Filter{App: "1"})
	var wg sync.WaitGroup
	for _, app := range []string{"1", "2", "3"} {
		wg.Go(func() {
			for i := range 500 {
				r := record(app, proxy.KindOccupied, "a")
				r.Count = i
				feed.Offer(r)
			}
		})
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			feed.Subscribe(ctx, tap.Filter{})
			cancel()
		})
	}
	wg.Wait()
	got := drain(records)
	if len(got) != 4 || got[3].Count != 499 {
		t.Fatalf("got %d records ending in %v, want the newest 4", len(got), got)
	}
	if !slices.IsSortedFunc(got, func(a, b proxy.Record) int { return a.Count - b.Count }) {
		t.Errorf("out of order: %v", got)
	}
}

func BenchmarkOffer(b *testing.B) {
	tp := tap.New(
		tap.Watcher{Name: "feed", Sink: tap.NewFeed(1), Kinds: proxy.AllKinds},
		tap.Watcher{Name: "other", Sink: tap.NewFeed(1), Kinds: proxy.KindsOf(proxy.KindGap)},
	)
	r := record("1", proxy.KindPublished, "a")
	b.ReportAllocs()
	for b.Loop() {
		tp.Offer(r)
	}
}
