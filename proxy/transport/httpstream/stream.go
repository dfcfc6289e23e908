package httpstream

import (
	"sync"
	"time"

	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/session"
)

// stream is one session, which outlives the requests that it consists of. It
// is the session's Link.
type stream struct {
	wake chan struct{} // capacity 1: there may be something for the receiver

	// handling is held while the session's Handle or End runs: messages of
	// one client are handled one at a time.
	handling sync.Mutex
	session  *session.Session // nil: refused
	ended    bool

	mu       sync.Mutex
	receiver *receiver // the request that receives now; nil: none
	since    time.Time // when the last receiver left
	greeted  bool      // the opening frame was sent
	ping     bool      // a heartbeat is due
	queue    []queued
	bytes    int // of the queue
	closing  *protocol.Error
}

// queued is frames that wait, shared with other connections.
type queued struct {
	batch *fanout.Batch
	from  int
}

// receiver is one request that receives.
type receiver struct {
	replaced chan struct{} // closed when another has taken its place
	full     bool          // guarded by the stream's mu: it waits for the next
}

var _ session.Link = (*stream)(nil)

func newStream() *stream {
	return &stream{wake: make(chan struct{}, 1), since: time.Now()}
}

// open keeps the session that was made of the stream. A refused stream has
// been closed by whoever refused it.
func (st *stream) open(ses *session.Session, refused *protocol.Error) {
	st.handling.Lock()
	defer st.handling.Unlock()
	if refused == nil {
		st.session = ses
	}
}

// Send implements fanout.Outlet. The bounds of the queue are those of a
// WebSocket's Outbox.
func (st *stream) Send(b *fanout.Batch, from int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closing != nil {
		return false
	}
	size := len(b.Wire(from))
	if len(st.queue) >= fanout.MaxQueuedWrites || st.bytes+size > fanout.MaxQueuedBytes && st.bytes > 0 {
		st.queue, st.bytes = nil, 0
		st.close(protocol.ErrSlow)
		return false
	}
	st.queue = append(st.queue, queued{b, from})
	st.bytes += size
	st.notify()
	return true
}

// Close implements session.Link: the receiver, or the next one, gets what is
// queued and then code and reason.
func (st *stream) Close(code int, reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closing == nil {
		st.close(&protocol.Error{Code: code, Message: reason})
	}
}

func (st *stream) close(why *protocol.Error) {
	st.closing = why
	st.notify()
}

// Ping implements session.Link. A streaming client answers a heartbeat by an
// empty xhr_send, a polling one by its next request.
func (st *stream) Ping() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ping = true
	st.notify()
}

// Abort implements session.Link. It is called on streams that are closed
// already; a receiver that cannot be written to ends by its deadline.
func (st *stream) Abort() {}

func (st *stream) notify() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// claim makes the caller the receiver. It returns no receiver while another
// one is there that still takes frames.
func (st *stream) claim() (*stream, *receiver) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.receiver != nil {
		if !st.receiver.full {
			return st, nil
		}
		close(st.receiver.replaced)
	}
	st.receiver = &receiver{replaced: make(chan struct{})}
	st.notify()
	return st, st.receiver
}

// release is called by each receiver when its request is over.
func (st *stream) release(r *receiver) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.receiver == r {
		st.receiver, st.since = nil, time.Now()
	}
}

// next returns the frames that r is to write now, and whether they are the
// last of the session. Frames are given out once.
func (st *stream) next(r *receiver) (frames []byte, last bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.receiver != r {
		return nil, false
	}
	if !st.greeted {
		frames = append(frames, "o\n"...)
		st.greeted = true
	}
	if len(st.queue) > 0 {
		frames = appendMessages(frames, st.queue)
		st.queue, st.bytes = nil, 0
	}
	if st.closing != nil {
		return appendClose(frames, st.closing), true
	}
	if st.ping && len(frames) == 0 {
		frames = append(frames, "h\n"...)
	}
	if len(frames) > 0 {
		st.ping = false
	}
	return frames, false
}

// pause says whether r has been sent as much as its client takes in one
// answer, so that the next request for this session takes its place.
func (st *stream) pause(r *receiver, full bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	r.full = full
}

// abandoned reports whether the stream has had no receiver for too long.
func (st *stream) abandoned(now time.Time) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.receiver == nil && now.Sub(st.since) >= Grace
}

// seen notes a sign of life of the client.
func (st *stream) seen() {
	st.handling.Lock()
	defer st.handling.Unlock()
	if st.session != nil {
		st.session.Seen()
	}
}

// handle passes the messages of one request to the session. It reports false
// when the session is over.
func (st *stream) handle(messages []string) bool {
	st.handling.Lock()
	defer st.handling.Unlock()
	if st.session == nil || st.ended {
		return false
	}
	st.session.Seen()
	for _, m := range messages {
		if st.over() {
			return false
		}
		st.session.Handle([]byte(m))
	}
	return true
}

func (st *stream) over() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.closing != nil
}

// end takes the session out of everything. Only the first call has an effect.
func (st *stream) end() {
	st.handling.Lock()
	defer st.handling.Unlock()
	if st.session == nil || st.ended {
		return
	}
	st.ended = true
	code, reason := 0, ""
	st.mu.Lock()
	if st.closing != nil {
		code, reason = st.closing.Code, st.closing.Message
	} else {
		st.closing = protocol.ErrReconnect // for a receiver that comes too late
	}
	st.mu.Unlock()
	st.session.End(code, reason)
}
