package httpapi

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy"
)

// pot is the share of all nodes together, which does not grow.
type pot struct {
	left, asked int
	err         error
}

func (p *pot) Take(_ context.Context, _ string, least, want, _, _ int) (int, error) {
	p.asked++
	if p.err != nil || p.left < least {
		return 0, p.err
	}
	granted := min(want, p.left)
	p.left -= granted
	return granted, nil
}

func TestNodesShareWhatAnAppMayPublish(t *testing.T) {
	app := &proxy.App{ID: "a", Limits: proxy.Limits{PublishesPerSecond: 100}}
	p := &pot{left: 100}
	nodes := []*share{newShare(app, p), newShare(app, p)}
	now := time.Unix(1764000000, 0)
	taken := 0
	for i := range 400 {
		if nodes[i%2].take(1, now) {
			taken++
		}
	}
	if taken != 100 {
		t.Errorf("%d were let through, want the 100 that there are", taken)
	}
	if p.asked > 22 {
		t.Errorf("asked %d times, want once per part and node", p.asked)
	}
	p.left = 10
	if nodes[0].take(1, now.Add(10*time.Millisecond)) || !nodes[0].take(10, now.Add(time.Second/parts)) {
		t.Error("want that it is asked again after a part of a second, and then given a batch")
	}
	p.err = errors.New("away")
	for range 50 {
		nodes[1].take(2, now.Add(time.Second))
	}
	if nodes[1].take(1, now.Add(time.Second)) {
		t.Error("want that a node alone keeps to the limit")
	}
}
