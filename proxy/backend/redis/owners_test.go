package redis

import (
	"testing"

	"github.com/offramp/offramp/proxy"
)

// A topic of a backend's has one owner, until that lets go or is dead.
func TestOneNodeOwns(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, shortLease), startNode(t, s, 2, shortLease)
	eventually(t, "both have a term", func() bool { return a.Owners.Term() != "" && b.Owners.Term() != "" })
	ask := func(n *testNode, backend string, inherit bool, want proxy.Claim) {
		t.Helper()
		if got, err := n.Owners.Claim(t.Context(), room, backend, inherit); got != want || err != nil {
			t.Errorf("the claim is answered %d, %v, want %d", got, err, want)
		}
	}
	claim := func(n *testNode, backend string, want proxy.Claim) { t.Helper(); ask(n, backend, true, want) }
	release := func(n *testNode) {
		t.Helper()
		if err := n.Owners.Release(t.Context(), room, "x"); err != nil {
			t.Error(err)
		}
	}
	claim(a, "x", proxy.ClaimGranted)
	claim(a, "x", proxy.ClaimGranted)
	claim(b, "x", proxy.ClaimRefused)
	claim(b, "y", proxy.ClaimGranted)
	release(b) // which does not have it
	claim(b, "x", proxy.ClaimRefused)
	release(a)
	ask(b, "x", false, proxy.ClaimRefused)
	claim(b, "x", proxy.ClaimInherited)
	claim(a, "x", proxy.ClaimRefused)
	b.stop()
	if term := b.Owners.Term(); term != "" {
		t.Errorf("a node that has ended has term %s", term)
	}
	eventually(t, "what a dead node owned is inherited", func() bool {
		got, err := a.Owners.Claim(t.Context(), room, "x", true)
		return got == proxy.ClaimInherited && err == nil
	})
}
