package shadow

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Replay compares records that were captured, in the time that they carry,
// and returns the evidence on one app. The same records give the same
// evidence. next returns io.EOF after the last record.
func Replay(s Settings, app string, next func() (proxy.Record, error)) (Evidence, error) {
	config := s.Config.withDefaults()
	state := newState(config, s.Apps)
	state.digests = digester{} // no secret: the records are at hand
	var now, sweepAt int64
	var records int64
	for {
		r, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Evidence{}, fmt.Errorf("replay records: %w", err)
		}
		if records++; records == 1 {
			state.start = r.At
			sweepAt = r.At.UnixNano() + int64(sweepEvery)
		}
		now = max(now, state.nanos(r.At))
		for ; sweepAt <= now; sweepAt += int64(sweepEvery) {
			state.sweep(sweepAt)
		}
		if watched.Has(r.Kind) {
			state.observe(&r)
		}
	}
	now += int64(config.Quiet)
	state.closeAll(now, true)
	ev := state.snapshot(app, time.Time{}, now)
	ev.Health.Records = records
	return ev, nil
}
