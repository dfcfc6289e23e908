package route_test

import (
	"testing"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/route"
)

// TestDigestTellsNodesApart: nodes that are at the same place have one digest,
// however they came there, and others have not.
func TestDigestTellsNodesApart(t *testing.T) {
	observe, mirror, ruled := node(t, app(proxy.StageObserve), nil), node(t, app(proxy.StageMirror), nil), node(t, app(proxy.StageObserve, rooms), nil)
	seen := map[string]bool{observe.router.Digest(): true, mirror.router.Digest(): true, ruled.router.Digest(): true}
	if len(seen) != 3 {
		t.Errorf("three nodes at different places have %d digests", len(seen))
	}
	observe.ok(observe.set(route.Request{Stage: proxy.StageMirror}))
	if observe.router.Digest() != mirror.router.Digest() {
		t.Error("a node that was moved differs from one that is configured so")
	}
	observe.ok(observe.set(route.Request{Channels: "x", Stage: proxy.StageCanary, Percent: 5}))
	five := observe.router.Digest()
	observe.ok(observe.set(route.Request{Channels: "x", Stage: proxy.StageCanary, Percent: 6}))
	if observe.router.Digest() == five {
		t.Error("another share has the same digest")
	}
}
