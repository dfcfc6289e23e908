package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/offramp/offramp/proxy/admin"
	"github.com/offramp/offramp/shadow/capture"
)

// evidence returns what this node adds to an app's report.
func (g *gateway) evidence(_ context.Context, app string, since time.Time) (json.RawMessage, error) {
	return json.Marshal(g.ownEvidence(app, since))
}

// captureTail is for how long before the end of a recording nobody is blamed
// for what had not arrived yet.
const captureTail = 3 * time.Second

// capture records an app's traffic.
func (g *gateway) capture(ctx context.Context, id string, length time.Duration, payloads bool, w io.Writer) error {
	app, ok := g.router.ByID(id)
	if !ok {
		return fmt.Errorf("%w: app %q", admin.ErrNotFound, id)
	}
	if !isCompared(app) {
		return fmt.Errorf("%w: app %q has neither an upstream nor a backend, so nothing of it is watched", admin.ErrInvalid, id)
	}
	run, err := g.recorder.Start(app, capture.Settings{Out: w, Redact: !payloads, Tail: captureTail})
	if err != nil {
		return fmt.Errorf("%w: %w", admin.ErrRefused, err)
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	return run(ctx)
}
