package main

import (
	"strings"
	"testing"
	"time"

	"github.com/offramp/offramp/proxy/upstream"
)

func TestStageShowTellsOfCopies(t *testing.T) {
	oldest := time.Date(2026, 11, 24, 12, 0, 0, 0, time.Local)
	for name, tc := range map[string]struct {
		copies *upstream.Copies
		want   string // empty: nothing is said
	}{
		"none are kept":      {nil, ""},
		"none wait":          {&upstream.Copies{}, ""},
		"some wait":          {&upstream.Copies{Waiting: 12, Oldest: oldest}, "copies for the upstream: 12 wait, the oldest since 2026-11-24 12:00:00; 0 lost and 0 not kept"},
		"some were lost":     {&upstream.Copies{Lost: 3}, "0 wait; 3 lost"},
		"some were not kept": {&upstream.Copies{Unkept: 4}, "4 not kept on disk"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := printStage(&out, stageView{App: "1", Copies: tc.copies}); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); !strings.Contains(got, tc.want) || tc.want == "" && strings.Contains(got, "copies") {
				t.Errorf("got %q, want %q in it", got, tc.want)
			}
		})
	}
}
