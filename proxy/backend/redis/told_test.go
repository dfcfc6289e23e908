package redis

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

// tellers return how a node tells of an arrival and of a departure: whether
// it is news.
func tellers(t *testing.T) (arrived, departed func(n *testNode, member bool, user string) bool) {
	must := func(news bool, err error) bool {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return news
	}
	arrived = func(n *testNode, member bool, user string) bool {
		t.Helper()
		return must(n.Told.Arrived(t.Context(), room, member, user))
	}
	departed = func(n *testNode, member bool, user string) bool {
		t.Helper()
		return must(n.Told.Departed(t.Context(), room, member, user))
	}
	return arrived, departed
}

// Receivers are told of an arrival once, and of the end once it is one,
// whichever nodes have seen the two and in whatever order they ask.
func TestReceiversAreToldOnce(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, shortLease), startNode(t, s, 2, shortLease)
	arrived, departed := tellers(t)
	a.join(t, "ann", 1)
	a.count(t, room, 1)
	if !arrived(a, true, "ann") || arrived(b, true, "ann") || !arrived(b, false, "") || arrived(a, false, "") {
		t.Error("an arrival is told twice, or never")
	}
	if departed(a, true, "ann") || departed(a, false, "") {
		t.Error("somebody who is there is told to be gone")
	}
	if _, err := a.Ledger.Leave(t.Context(), room, "ann", id(1)); err != nil {
		t.Fatal(err)
	}
	a.count(t, room, 0)
	if !departed(b, true, "ann") || departed(a, true, "ann") || !departed(a, false, "") || departed(b, false, "") {
		t.Error("a departure is told twice, or never")
	}
}

// Redis hangs while it is asked, and does what it was asked afterwards: nobody
// gets the answer. Who asks again gets it.
func TestAnswersThatAreLostAreGivenAgain(t *testing.T) {
	s := startServer(t)
	n := startNode(t, s, 1, DefaultLease)
	hang := func(ask func()) {
		t.Helper()
		eventually(t, "the node is exact", n.exact)
		if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		ask()
		if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the node is exact, or has not noticed", n.exact)
	}
	if news, err := n.Told.Departed(t.Context(), room, true, "nobody"); news || err != nil { // Redis has the script
		t.Fatalf("Departed = %t, %v", news, err)
	}
	c := s.client()
	told := func() bool {
		return c.SIsMember(t.Context(), n.Broker.keys.told(room), toldEntry(room, true, "ann")).Val()
	}
	if news, err := n.Told.Arrived(t.Context(), room, true, "ann"); !news || err != nil {
		t.Fatalf("Arrived = %t, %v", news, err)
	}
	depart := func(want error) (news bool) {
		t.Helper()
		news, err := n.Told.Departed(t.Context(), room, true, "ann")
		for deadline := time.Now().Add(30 * time.Second); want == nil && errors.Is(err, ErrAway) && time.Now().Before(deadline); { // as receivers' outbox does
			time.Sleep(10 * time.Millisecond)
			news, err = n.Told.Departed(t.Context(), room, true, "ann")
		}
		if (err == nil) != (want == nil) {
			t.Fatalf("Departed = %t, %v; want %v", news, err, want)
		}
		return news
	}
	hang(func() { depart(ErrAway) })
	eventually(t, "it is done all the same", func() bool { return !told() })
	if !depart(nil) {
		t.Error("who asks again is not to tell of the departure; nobody does")
	}
	if depart(nil) {
		t.Error("the departure is to be told twice")
	}

	if news, err := n.Told.Arrived(t.Context(), room, true, "ann"); !news || err != nil {
		t.Fatalf("Arrived = %t, %v", news, err)
	}
	hang(func() { depart(ErrAway) })
	eventually(t, "it is done all the same", func() bool { return !told() })
	if news, err := n.Told.Arrived(t.Context(), room, true, "ann"); news || err != nil {
		t.Errorf("Arrived = %t, %v; want no news, as nobody has told of the departure", news, err)
	}
	if !depart(nil) {
		t.Error("the departure after that is not to be told")
	}

	resumed := make(chan struct{})
	hang(func() {
		go func() {
			defer close(resumed)
			if news, err := n.Told.Arrived(context.Background(), room, true, "ann"); !news || err != nil {
				t.Errorf("Arrived = %t, %v; want that the one who asked longer than once is to tell", news, err)
			}
		}()
		began := time.Now()
		eventually(t, "the first attempt is given up", func() bool { return time.Since(began) > timeout+timeout/2 })
	})
	<-resumed
}

// Redis loses its memory between a change and telling of it: it is told all
// the same, once.
func TestWhatIsOwedOutlivesRedis(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, DefaultLease), startNode(t, s, 2, DefaultLease)
	arrived, departed := tellers(t)
	for i, user := range []string{"left", "told", "stays"} {
		a.join(t, user, i)
		if !arrived(a, true, user) {
			t.Error("an arrival is no news")
		}
	}
	for i, user := range []string{"left", "told"} {
		if last, err := a.Ledger.Leave(t.Context(), room, user, id(i)); !last || err != nil {
			t.Fatalf("Leave = %t, %v", last, err)
		}
	}
	if !departed(a, true, "told") {
		t.Error("a departure is no news")
	}
	b.join(t, "came", 7)
	b.count(t, room, 1)
	s.kill()
	eventually(t, "both know", func() bool { return !a.exact() && !b.exact() })
	if news, err := a.Told.Departed(t.Context(), room, true, "left"); news || err == nil {
		t.Errorf("Departed = %t, %v while nobody knows", news, err)
	}
	s.start()
	eventually(t, "both are exact again", func() bool { return a.exact() && b.exact() })
	if !departed(a, true, "left") || departed(b, true, "left") {
		t.Error("the departure is told twice, or never")
	}
	if departed(a, true, "told") {
		t.Error("a departure is told that was told before")
	}
	if !arrived(b, true, "came") || arrived(a, true, "came") || !arrived(b, false, "") {
		t.Error("an arrival is told twice, or never")
	}
	if arrived(a, true, "stays") {
		t.Error("an arrival is told that was told before")
	}
}

// A node tells of an arrival without asking, as it is cut off, and the others
// take it for dead: when it is back, it tells of the departure.
func TestArrivalThatWasToldWithoutAskingEnds(t *testing.T) {
	s := startServer(t)
	w := newWire(t, s)
	a, b := startNodeAt(t, w.at(), 1, shortLease), startNode(t, s, 2, shortLease)
	a.join(t, "ann", 1)
	w.set(true)
	if news, err := a.Told.Arrived(t.Context(), room, true, "ann"); news || err == nil {
		t.Fatalf("Arrived = %t, %v; want an error", news, err)
	}
	eventually(t, "the other node has told of the end", func() bool { return allChanges(b)["0 presence-a ann"] > 0 })
	if news, err := b.Told.Departed(t.Context(), room, true, "ann"); news || err != nil {
		t.Fatalf("Departed = %t, %v; want that it knows of no arrival", news, err)
	}
	w.set(false)
	eventually(t, "the node has told of the departure", func() bool { return allChanges(a)["0 presence-a ann"] > 0 && a.exact() })
	if news, err := a.Told.Departed(t.Context(), room, true, "ann"); !news || err != nil {
		t.Errorf("Departed = %t, %v; want that receivers are told", news, err)
	}
}

// A node that dies between a user's end and telling of it, and one that dies
// with its users, leave nobody whom receivers take to be there.
func TestDeadNodeLeavesNobodyTold(t *testing.T) {
	s := startServer(t)
	a, b := startNode(t, s, 1, shortLease), startNode(t, s, 2, shortLease)
	for i, user := range []string{"ann", "bob"} {
		a.join(t, user, i)
		if _, err := a.Told.Arrived(t.Context(), room, true, user); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := a.Ledger.Leave(t.Context(), room, "ann", id(0)); !last || err != nil {
		t.Fatalf("Leave = %v, %v", last, err)
	}
	a.stop()
	eventually(t, "what it has left is removed", func() bool { return b.users(t) == "" && len(b.told()) == 2 })
	mustTell(t, map[string]int{"0 presence-a ann": 1, "0 presence-a bob": 1}, b)
}

func FuzzTold(f *testing.F) {
	f.Add("presence-a", true, "user 7")
	f.Add("c", false, "")
	f.Fuzz(func(t *testing.T, channel string, member bool, user string) {
		_, _, _ = cutTold("app", channel) // whatever is there, it does not fail
		if !member {
			user = ""
		}
		gotTopic, gotMember, gotUser := cutTold("app", toldEntry(room, member, user))
		if gotTopic != room || gotMember != member || gotUser != user {
			t.Errorf("cutTold of %q = %v, %v, %q", toldEntry(room, member, user), gotTopic, gotMember, gotUser)
		}
	})
}
