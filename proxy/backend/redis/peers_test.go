package redis

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// peer runs a node that can be asked.
func peer(t *testing.T, n *testNode, s PeersSettings) *Peers {
	t.Helper()
	s.Log = zerolog.New(zerolog.NewTestWriter(t))
	p := n.Peers(s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

// peers has three nodes talk to each other, on any form of Redis.
func peers(t *testing.T, at Server) {
	t.Helper()
	long := bytes.Repeat([]byte("0123456789abcdef"), answerChunk/16*2+1)
	noticed := make(chan string, 64)
	one := peer(t, startNodeAt(t, at, 1, DefaultLease), PeersSettings{Name: "one", Noticed: func(s string) { noticed <- "one " + s }})
	peer(t, startNodeAt(t, at, 2, DefaultLease), PeersSettings{Name: "two",
		Noticed: func(s string) { noticed <- "two " + s },
		Answer: func(_ context.Context, q string) ([]byte, error) {
			if q == "a secret" {
				return nil, errors.New("that is not said")
			}
			return append([]byte(q+" "), long...), nil
		},
	})
	// The third one lives, and cannot be asked.
	startNodeAt(t, at, 3, DefaultLease)

	answers, err := one.Ask(t.Context(), "what is it", 3*time.Second)
	if err != nil || len(answers) != 2 {
		t.Fatalf("Ask() = %d answers, %v", len(answers), err)
	}
	if a := answers[1]; a.Node != "two" || a.Err != nil || !bytes.Equal(a.Body, append([]byte("what is it "), long...)) {
		t.Errorf("node %s answered with %d bytes, %v", a.Node, len(a.Body), a.Err)
	}
	if a := answers[0]; a.Node != "node 3" || !errors.Is(a.Err, ErrNoAnswer) {
		t.Errorf("node %q: %v, want ErrNoAnswer", a.Node, a.Err)
	}
	answers, err = one.Ask(t.Context(), "a secret", 3*time.Second)
	if err != nil || len(answers) != 2 || answers[1].Err == nil || answers[1].Err.Error() != "that is not said" {
		t.Errorf("Ask() = %v, %v, want the refusal", answers, err)
	}
	var heard string
	eventually(t, "the other node is told, and only that", func() bool {
		if err := one.Notify(t.Context(), "look"); err != nil {
			t.Fatal(err)
		}
		select {
		case heard = <-noticed:
			return true
		default:
			return false
		}
	})
	if heard != "two look" {
		t.Errorf("heard %q", heard)
	}
}

func TestPeers(t *testing.T) { peers(t, startServer(t).at()) }

func TestPeersOnCluster(t *testing.T) { peers(t, startCluster(t)) }

func TestPeersOverTLSWithLeastRights(t *testing.T) {
	ca := newAuthority(t)
	peers(t, ca.at(startTLSServer(t, append(ca.serverArgs(t), "--aclfile", aclFile(t))...)))
}

// FuzzHear holds that nothing on the bus harms a node that listens.
func FuzzHear(f *testing.F) {
	for _, seed := range []string{"", "n", "q", "nabc look", "q2 id what", "q2 id", "q2  ", "x2 y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := &Peers{ledger: &Ledger{settings: Settings{Node: 1}}, questions: make(chan question, 2), settings: PeersSettings{Noticed: func(string) {}}}
		last := p.hear(text, []string{"known"})
		last = p.hear(text, last)
		if n := len(p.questions); n > 1 {
			t.Errorf("%q: %d questions", text, n)
		}
		if len(last) > cap(p.questions) {
			t.Errorf("%q: remembers %q", text, last)
		}
	})
}
