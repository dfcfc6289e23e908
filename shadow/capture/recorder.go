package capture

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/offramp/offramp/proxy"
)

// ErrBusy is returned while another stretch is being recorded: one at a time,
// as each costs as much as the comparison does.
var ErrBusy = errors.New("capture: a recording is under way already")

// Recorder is a proxy.Sink that passes an app's records on to a capture while
// somebody asks for one. Nobody asking, it looks at one pointer per record.
type Recorder struct {
	one    sync.Mutex // held while recording
	active atomic.Pointer[recording]
}

type recording struct {
	app string
	out *Writer
}

// Offer shows the recorder a record, and reports whether it was taken or
// nobody wanted it.
func (r *Recorder) Offer(rec proxy.Record) bool {
	now := r.active.Load()
	if now == nil {
		return true
	}
	app := rec.Topic.App
	if app == "" && rec.Event != nil {
		app = rec.Event.Topic.App
	}
	if app != now.app {
		return true
	}
	return now.out.Offer(rec)
}

// Start begins to capture an app's records. The caller must call run, which
// writes them until ctx ends, and returns once the end of the file is written.
// Start returns ErrBusy while another recording lasts.
func (r *Recorder) Start(app *proxy.App, s Settings) (run func(ctx context.Context) error, err error) {
	if !r.one.TryLock() {
		return nil, ErrBusy
	}
	s.App = app
	w := New(s)
	r.active.Store(&recording{app: app.ID, out: w})
	return func(ctx context.Context) error {
		defer r.one.Unlock()
		defer r.active.Store(nil)
		return w.Run(ctx)
	}, nil
}
