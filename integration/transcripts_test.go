package integration

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/offramp/offramp/integration/conformance"
	"github.com/offramp/offramp/integration/transcript"
)

// TestTranscripts runs every transcript against the engine in virtual time.
func TestTranscripts(t *testing.T) {
	scripts, err := transcript.Load("testdata/transcripts")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) == 0 {
		t.Fatal("no transcripts found")
	}
	for _, script := range scripts {
		name := strings.Join(script.IDs, " ") + ": " + script.Title
		t.Run(name, func(t *testing.T) {
			conformance.Record(t, script.IDs...)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				target := transcript.NewEngine()
				go target.Run(ctx)
				if err := script.Run(target); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
