package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/backend/redis"
	"github.com/offramp/offramp/shadow"
)

func zipped(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(text) // into a buffer
	_ = w.Close()
	return b.Bytes()
}

// seenEvidence is what a node has seen, with latencies.
func seenEvidence(tb testing.TB) []byte {
	tb.Helper()
	h := hdrhistogram.New(1, 600_000_000, 2)
	if err := h.RecordValue(1234); err != nil {
		tb.Fatal(err)
	}
	key := shadow.Key{Type: "public", Pattern: "room-{int}", Event: "message"}
	text, err := json.Marshal(shadow.Evidence{App: "app-id", Stage: proxy.StageShadow, Pairs: []shadow.Pair{{Reference: "vendor", Candidate: "engine", Cells: []shadow.Cell{
		{Key: key, Start: time.Unix(1e9, 0).UTC(), Span: time.Minute, Counts: shadow.Counts{Expected: 3, Matched: 3}, Latency: &shadow.Latency{Candidate: h}},
	}}}})
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func TestReadEvidence(t *testing.T) {
	good := seenEvidence(t)
	for name, tc := range map[string]struct {
		answer redis.Answer
		want   string // part of the error; empty: none
	}{
		"what a node has seen":           {redis.Answer{Body: zipped(good)}, ""},
		"a node that says nothing":       {redis.Answer{Err: redis.ErrNoAnswer}, "has not answered within"},
		"a node that refuses":            {redis.Answer{Err: errors.New("its configuration differs")}, "its configuration differs"},
		"evidence that is not packed":    {redis.Answer{Body: good}, "read its evidence"},
		"evidence that is cut off":       {redis.Answer{Body: zipped(good)[:40]}, "read its evidence"},
		"evidence that is none":          {redis.Answer{Body: zipped([]byte(`[1]`))}, "read its evidence"},
		"evidence of another app":        {redis.Answer{Body: zipped(bytes.ReplaceAll(good, []byte("app-id"), []byte("other")))}, "of another app"},
		"a span that cannot be":          {redis.Answer{Body: zipped(bytes.ReplaceAll(good, []byte(`"Span":`), []byte(`"Span":-`)))}, "a time that cannot be"},
		"a time that is to come":         {redis.Answer{Body: zipped(bytes.ReplaceAll(good, []byte(`"2001-`), []byte(`"9001-`)))}, "a time that cannot be"},
		"counts that cannot be":          {redis.Answer{Body: zipped(bytes.ReplaceAll(good, []byte(`"Expected":`), []byte(`"Expected":-`)))}, "counts that cannot be"},
		"a node that names other nodes":  {redis.Answer{Node: "two", Body: zipped([]byte(`{"App":"app-id","Nodes":["x"],"Missing":["y"]}`))}, ""},
		"latencies that are not encoded": {redis.Answer{Body: zipped([]byte(`{"App":"app-id","Pairs":[{"Cells":[{"Latency":["AAAA",null,null,null]}]}]}`))}, "read its evidence"},
	} {
		t.Run(name, func(t *testing.T) {
			ev, err := readEvidence(tc.answer, "app-id")
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("readEvidence = %v, want %q", err, tc.want)
			}
			if err == nil && (len(ev.Nodes) != 1 || ev.Nodes[0] != tc.answer.Node || ev.Missing != nil) {
				t.Errorf("it is of %q without %q", ev.Nodes, ev.Missing)
			}
		})
	}
}
