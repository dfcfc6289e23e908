package redis

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func moveTexts(list ...string) (all [][]byte) {
	for _, s := range list {
		all = append(all, []byte(s))
	}
	return all
}

// moves runs the calls that a node makes, on any form of Redis.
func moves(t *testing.T, at Server) {
	t.Helper()
	a, b := startNodeAt(t, at, 1, DefaultLease), startNodeAt(t, at, 2, DefaultLease)
	for _, step := range []struct {
		name string
		node *testNode
		last string
		add  [][]byte
		done bool
		want string
	}{
		{"nobody has moved it", a, "", moveTexts("one"), true, "[one]"},
		{"who knows of nothing is late", b, "", moveTexts("none"), false, "[one]"},
		{"who knows the last goes on", b, "one", moveTexts("two", "three"), true, "[one two three]"},
		{"who knows one before it is late", a, "two", moveTexts("none"), false, "[one two three]"},
		{"the oldest are dropped", a, "three", moveTexts("four", "five"), true, "[three four five]"},
		{"bytes are bytes", b, "five", moveTexts("\x00\r\n\xff"), true, "[four five \x00\r\n\xff]"},
	} {
		done, err := step.node.Moves.Append(t.Context(), "app", []byte(step.last), step.add, 3)
		if err != nil || done != step.done {
			t.Fatalf("%s: Append() = %t, %v", step.name, done, err)
		}
		for _, n := range []*testNode{a, b} {
			all, err := n.Moves.All(t.Context(), "app")
			if got := fmt.Sprintf("%s", all); err != nil || got != step.want {
				t.Fatalf("%s: All() = %q, %v, want %q", step.name, got, err, step.want)
			}
		}
	}
	lasts, err := a.Moves.Last(t.Context(), []string{"other", "app"})
	if err != nil || len(lasts) != 2 || lasts[0] != nil || string(lasts[1]) != "\x00\r\n\xff" {
		t.Errorf("Last() = %q, %v", lasts, err)
	}
	if _, err := a.Moves.Append(t.Context(), "app", nil, moveTexts("1", "2", "3", "4"), 3); err == nil {
		t.Error("more records than are kept were taken")
	}
}

func TestMoves(t *testing.T) { moves(t, startServer(t).at()) }

func TestMovesOnCluster(t *testing.T) { moves(t, startCluster(t)) }

// The documented user may do all of it.
func TestMovesWithLeastRights(t *testing.T) {
	ca := newAuthority(t)
	moves(t, ca.at(startTLSServer(t, append(ca.serverArgs(t), "--aclfile", aclFile(t))...)))
}

// Of those who go on from the same move one wins.
func TestOneOfManyMovesWins(t *testing.T) {
	n := startNode(t, startServer(t), 1, DefaultLease)
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			done, err := n.Moves.Append(t.Context(), "app", nil, moveTexts(fmt.Sprint(i)), 10)
			if err != nil {
				t.Error(err)
			}
			if done {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if list, err := n.Moves.All(t.Context(), "app"); won.Load() != 1 || err != nil || len(list) != 1 {
		t.Errorf("%d have won, %q is there, %v; want one", won.Load(), list, err)
	}
}

// More apps than are asked about in one round trip.
func TestLastOfManyApps(t *testing.T) {
	n := startNode(t, startServer(t), 1, DefaultLease)
	var apps []string
	for i := range lastMost + 2 {
		apps = append(apps, fmt.Sprint("app", i))
	}
	if _, err := n.Moves.Append(t.Context(), apps[lastMost+1], nil, moveTexts("x"), 10); err != nil {
		t.Fatal(err)
	}
	lasts, err := n.Moves.Last(t.Context(), apps)
	if i := slices.IndexFunc(lasts, func(b []byte) bool { return b != nil }); err != nil || len(lasts) != len(apps) || i != lastMost+1 {
		t.Errorf("%d answers, the first at %d, %v", len(lasts), i, err)
	}
}

func TestMovesWhileRedisIsAway(t *testing.T) {
	s := startServer(t)
	n := startNode(t, s, 1, DefaultLease)
	s.kill()
	if _, err := n.Moves.Last(t.Context(), []string{"app"}); err == nil {
		t.Error("Last() has an answer of nobody")
	}
	if _, err := n.Moves.All(t.Context(), "app"); err == nil {
		t.Error("All() has an answer of nobody")
	}
	if done, err := n.Moves.Append(t.Context(), "app", nil, moveTexts("x"), 10); done || err == nil {
		t.Errorf("Append() = %t, %v", done, err)
	}
}
