package capture

import (
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Settings says how a capture is made.
type Settings struct {
	// Out gets the file; the caller closes it after Run has returned.
	Out io.Writer
	// Redact replaces payloads, user ids and texts by keyed hashes. The key is
	// drawn at random and forgotten.
	Redact bool
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
}

// New returns a writer. It writes once Run is called.
func New(s Settings) *Writer {
	if s.Queue == 0 {
		s.Queue = 16_384
	}
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &Writer{settings: s, key: key, began: time.Now(), queue: make(chan proxy.Record, s.Queue)}
}

// Offer queues a record and reports whether it fitted.
func (w *Writer) Offer(r proxy.Record) bool {
	select {
	case w.queue <- r:
		return true
	default:
		w.dropped.Add(1)
		return false
	}
}

// Dropped returns how many records did not fit into the queue.
func (w *Writer) Dropped() int64 { return w.dropped.Load() }

// Run writes until ctx ends, and then what is queued and the end of the file.
func (w *Writer) Run(ctx context.Context) error {
	zip := gzip.NewWriter(w.settings.Out)
	enc := json.NewEncoder(zip)
	if err := enc.Encode(header{Format: Format, Redacted: w.settings.Redact, Began: w.began}); err != nil {
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
		if err := zip.Close(); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
		return nil
	}
}

func (w *Writer) write(enc *json.Encoder, r *proxy.Record) error {
	l := encode(r, w.began)
	if w.settings.Redact {
		w.redact(&l)
	}
	if err := enc.Encode(l); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// redact replaces what may be anybody's secret. A backend's result code is
// not, and the comparison needs it.
func (w *Writer) redact(l *line) {
	l.User = w.hash(l.User)
	if l.Kind != proxy.KindMirrored.String() {
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
