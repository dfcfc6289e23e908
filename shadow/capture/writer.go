package capture

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Settings says how a capture is made.
type Settings struct {
	// Out gets the file; the caller closes it after Run has returned.
	Out io.Writer
	// App is the app whose records are captured: what it is compared with goes
	// into the file, so that it can be compared again without a configuration.
	// Nil: the reader has to know.
	App *proxy.App
	// Redact replaces payloads, user ids and texts by keyed hashes. The key is
	// drawn at random and forgotten.
	Redact bool
	// Tail is for how long before the end of the capture nothing can be said of
	// what had not arrived: it was under way, and traffic goes on. The file ends
	// with a gap of that length on every leg. 0: the traffic had ended before.
	Tail time.Duration
	// Queue bounds the records waiting to be written. When it is full a record
	// is dropped and counted, and a gap of its leg is written in its place.
	// Default 16 384.
	Queue int
}

// Writer is a proxy.Sink that captures what it is offered.
type Writer struct {
	settings Settings
	key      []byte
	began    time.Time
	queue    chan proxy.Record
	dropped  atomic.Int64

	legs map[lostKey]bool // seen; owned by Run

	mu   sync.Mutex // guards lost
	lost map[lostKey]*proxy.Record
}

// lostKey is what records are lost of: a leg of an app.
type lostKey struct {
	app string
	leg proxy.Leg
}

// New returns a writer. It writes once Run is called.
func New(s Settings) *Writer {
	if s.Queue == 0 {
		s.Queue = 16_384
	}
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &Writer{settings: s, key: key, began: time.Now(), queue: make(chan proxy.Record, s.Queue), legs: make(map[lostKey]bool)}
}

// Offer queues a record and reports whether it fitted.
func (w *Writer) Offer(r proxy.Record) bool {
	select {
	case w.queue <- r:
		return true
	default:
		w.dropped.Add(1)
		w.lose(&r)
		return false
	}
}

// lose notes that a leg could not be seen at a record's time.
func (w *Writer) lose(r *proxy.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := lostKey{r.Topic.App, r.Leg}
	gap := w.lost[key]
	if gap == nil {
		if w.lost == nil {
			w.lost = make(map[lostKey]*proxy.Record)
		}
		w.lost[key] = &proxy.Record{
			Kind: proxy.KindGap, From: r.At, At: r.At, Leg: r.Leg, Topic: proxy.Topic{App: r.Topic.App}, Text: "the capture could not keep up",
		}
		return
	}
	if r.At.After(gap.At) {
		gap.At = r.At
	}
}

// gaps returns what was lost since it was called last.
func (w *Writer) gaps() []*proxy.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lost) == 0 {
		return nil
	}
	gaps := slices.SortedFunc(maps.Values(w.lost), func(a, b *proxy.Record) int { return a.From.Compare(b.From) })
	clear(w.lost)
	return gaps
}

// Dropped returns how many records did not fit into the queue.
func (w *Writer) Dropped() int64 { return w.dropped.Load() }

// Run writes until ctx ends, and then what is queued and the end of the file.
func (w *Writer) Run(ctx context.Context) error {
	zip := gzip.NewWriter(w.settings.Out)
	enc := json.NewEncoder(zip)
	if err := enc.Encode(header{Format: Format, Redacted: w.settings.Redact, Began: w.began, App: describe(w.settings.App)}); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	for {
		select {
		case r := <-w.queue:
			if err := w.write(enc, &r); err != nil {
				return err
			}
		case <-ctx.Done():
			return w.finish(enc, zip)
		}
	}
}

func (w *Writer) finish(enc *json.Encoder, zip *gzip.Writer) error {
	for {
		select {
		case r := <-w.queue:
			if err := w.write(enc, &r); err != nil {
				return err
			}
			continue
		default:
		}
		if err := w.writeTail(enc); err != nil {
			return err
		}
		if err := zip.Close(); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
		return nil
	}
}

// writeTail ends the capture: see Settings.Tail.
func (w *Writer) writeTail(enc *json.Encoder) error {
	if err := w.writeGaps(enc); err != nil || w.settings.Tail == 0 {
		return err
	}
	end := time.Now()
	for _, key := range slices.SortedFunc(maps.Keys(w.legs), func(a, b lostKey) int {
		return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.leg, b.leg))
	}) {
		gap := proxy.Record{
			Kind: proxy.KindGap, From: end.Add(-w.settings.Tail), At: end, Leg: key.leg, Topic: proxy.Topic{App: key.app}, Text: "the capture ended",
		}
		if err := w.writeLine(enc, &gap); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) write(enc *json.Encoder, r *proxy.Record) error {
	if err := w.writeGaps(enc); err != nil {
		return err
	}
	if r.Leg != "" {
		w.legs[lostKey{r.Topic.App, r.Leg}] = true
	}
	return w.writeLine(enc, r)
}

func (w *Writer) writeGaps(enc *json.Encoder) error {
	for _, gap := range w.gaps() {
		if err := w.writeLine(enc, gap); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) writeLine(enc *json.Encoder, r *proxy.Record) error {
	l := encode(r, w.began)
	if w.settings.Redact {
		w.redact(&l)
	}
	if err := enc.Encode(l); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// openTexts are the kinds of record whose text is nobody's secret: a backend's
// result code, why a leg was not seen, and the keys and types of a frame.
var openTexts = []string{proxy.KindMirrored.String(), proxy.KindGap.String(), proxy.KindFrame.String()}

// redact replaces what may be anybody's secret. Libraries of clients and
// publishers stay, because reports are about them.
func (w *Writer) redact(l *line) {
	l.User = w.hash(l.User)
	if !slices.Contains(openTexts, l.Kind) {
		l.Text = w.hash(l.Text)
	}
	if l.Event == nil {
		return
	}
	ev := *l.Event
	ev.User = w.hash(ev.User)
	// The same length, as sizes matter to backends.
	sum := w.hash(string(ev.Data))
	ev.Data = []byte((sum + strings.Repeat("x", len(ev.Data)))[:max(len(sum), len(ev.Data))])
	l.Event = &ev
}

func (w *Writer) hash(text string) string {
	if text == "" {
		return ""
	}
	mac := hmac.New(sha256.New, w.key)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)[:12])
}
