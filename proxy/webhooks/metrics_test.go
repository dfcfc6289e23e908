package webhooks

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp("1", everything(hookURL), everything("http://removed.test/"))
		r := newRig(t, app)
		r.receiver.behave(func(w http.ResponseWriter, d delivered) {
			if d.host == "removed.test" || d.Events[0]["name"] == "client_event" {
				w.WriteHeader(400)
			}
		})
		r.offer(occupied("1", "c"), clientEvent("1", "private-bad", "{}"))
		synctest.Wait()
		app = newApp("1", app.Webhooks[0])
		if err := r.registry.Swap([]*proxy.App{app}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		registry := prometheus.NewPedanticRegistry()
		if err := registry.Register(r.outbox); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		for _, f := range families {
			for _, m := range f.GetMetric() {
				fmt.Fprint(&text, f.GetName())
				for _, l := range m.GetLabel() {
					fmt.Fprintf(&text, " %s=%s", l.GetName(), l.GetValue())
				}
				switch {
				case m.Histogram != nil:
					text.WriteString(" histogram\n")
				default:
					fmt.Fprintf(&text, " %g\n", m.GetCounter().GetValue()+m.GetGauge().GetValue())
				}
			}
		}
		golden(t, "metrics.golden", text.Bytes())
	})
}

func TestHistoryKeepsTheLatest(t *testing.T) {
	var h history
	for i := range 2*historySize + 7 {
		h.note(at.Add(time.Duration(i)), &request{entries: make([]entry, i)}, outcome{status: 200 + i%2*300})
	}
	got := h.newest()
	if len(got) != historySize || got[0].Events != 2*historySize+6 || got[historySize-1].Events != historySize+7 {
		t.Errorf("newest = %d attempts from %+v to %+v", len(got), got[0], got[len(got)-1])
	}
	if !slices.IsSortedFunc(got, func(a, b Attempt) int { return b.At.Compare(a.At) }) {
		t.Error("not newest first")
	}
}

func BenchmarkOffer(b *testing.B) {
	registry, err := apps.New([]*proxy.App{newApp("1", everything(hookURL)), newApp("2")})
	if err != nil {
		b.Fatal(err)
	}
	for name, r := range map[string]proxy.Record{
		"client event":          clientEvent("1", "private-a", "{}"),
		"app without a webhook": clientEvent("2", "private-a", "{}"),
	} {
		b.Run(name, func(b *testing.B) {
			o := &Outbox{settings: Settings{Apps: registry, Log: zerolog.Nop()}, intake: newIntake(1 << 10), metrics: newMetrics()}
			r.Leg = proxy.LegEngine
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%512 == 0 {
					o.intake.take()
				}
				o.Offer(r)
			}
		})
	}
}

// BenchmarkCommit is how many events a second the disk takes: a round of
// 1000, each for one receiver.
func BenchmarkCommit(b *testing.B) {
	registry, err := apps.New([]*proxy.App{newApp("1", everything("http://127.0.0.1:1/"))})
	if err != nil {
		b.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "outbox.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	o, err := New(Settings{DB: db, Apps: registry, Log: zerolog.Nop(), ReceiverBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	ended, end := context.WithCancel(b.Context())
	end() // no worker sends
	if err := o.reconcile(ended); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for range 1000 {
			r := clientEvent("1", "private-a", `{"who":"Ann"}`)
			r.Leg = proxy.LegEngine
			o.Offer(r)
		}
		if err := o.round(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}
