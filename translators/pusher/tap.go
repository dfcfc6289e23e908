package pusher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// pongPatience is what the protocol gives a server to answer a ping.
	pongPatience = 30 * time.Second
	maxFrame     = 1 << 20 // bytes
)

var (
	errAlreadyObserved = errors.New("the channel is being observed already")
	errClosed          = errors.New("the session is closed")
)

// tap is a connection that observes channels. It connects when the first is
// asked for, and again whenever the connection ends.
type tap struct {
	// Set at construction.
	config Config
	user   string // signs in as; empty: nobody
	log    zerolog.Logger
	cancel context.CancelFunc
	start  func() // starts the connection, once
	wg     sync.WaitGroup

	mu         sync.Mutex
	conn       *websocket.Conn // nil: away, or not signed in yet
	signer     signer
	watches    map[protocol.ChannelName]*watch
	trouble    string // the last error, while away
	complaint  string // the last pusher:error
	reconnects uint64
}

// watch is one observed channel. What is not guarded by the tap's mu belongs
// to the connection's goroutine, which alone calls the observer.
type watch struct {
	observer translators.Observer
	answer   chan error // of length 1: the first subscription's outcome
	answered bool
	attached bool
}

func newTap(c Config, user string, log zerolog.Logger) *tap {
	t := &tap{config: c, user: user, log: log, watches: map[protocol.ChannelName]*watch{}}
	ctx, cancel := context.WithCancel(context.Background()) // of the tap's life, which no call's context spans
	t.cancel = cancel
	t.start = sync.OnceFunc(func() { t.wg.Go(func() { t.run(ctx) }) })
	return t
}

// close ends the connection.
func (t *tap) close() {
	t.cancel()
	t.wg.Wait()
}

// socketID returns the connection's id; empty while there is none.
func (t *tap) socketID() protocol.SocketID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signer.socket
}

// report returns how often the tap has connected anew, and why it is away.
func (t *tap) report() (reconnects uint64, trouble string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reconnects, t.trouble
}

// subscribe observes a channel from when it returns.
func (t *tap) subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (stop func(), err error) {
	t.start()
	w := &watch{observer: o, answer: make(chan error, 1)}
	t.mu.Lock()
	if _, taken := t.watches[channel]; taken {
		t.mu.Unlock()
		return nil, errAlreadyObserved
	}
	t.watches[channel] = w
	t.send(t.signer.subscribe(channel))
	t.mu.Unlock()
	select {
	case err = <-w.answer:
	case <-ctx.Done():
		err = t.whyLate(ctx.Err())
	}
	if err != nil {
		t.unsubscribe(channel)
		return nil, fmt.Errorf("subscribe to %s: %w", channel, err)
	}
	return sync.OnceFunc(func() { t.unsubscribe(channel) }), nil
}

func (t *tap) unsubscribe(channel protocol.ChannelName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watches, channel)
	t.send(t.signer.unsubscribe(channel))
}

// whyLate adds what the server has complained about to an error.
func (t *tap) whyLate(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.trouble != "":
		return fmt.Errorf("not connected: %s: %w", t.trouble, err)
	case t.complaint != "":
		return fmt.Errorf("no answer; the server's last error was %q: %w", t.complaint, err)
	}
	return fmt.Errorf("no answer: %w", err)
}

// send writes a frame, if there is a connection. One that cannot be written
// to is closed, and its reader notices. Called with mu held.
func (t *tap) send(frame any) {
	if t.conn == nil {
		return
	}
	if err := t.write(t.conn, frame); err != nil {
		_ = t.conn.Close()
	}
}

// write writes a frame. Called with mu held, or before others know conn.
func (t *tap) write(conn *websocket.Conn, frame any) error {
	if err := conn.SetWriteDeadline(time.Now().Add(t.config.Timeout)); err != nil {
		return err
	}
	return conn.WriteJSON(frame)
}

// run keeps a connection until ctx ends.
func (t *tap) run(ctx context.Context) {
	backoff := firstBackoff
	for {
		heard, err := t.connect(ctx)
		if ctx.Err() != nil {
			t.detach(heard, errClosed)
			return
		}
		if !heard.IsZero() {
			backoff = firstBackoff
		}
		t.detach(heard, err)
		wait := backoff/2 + rand.N(backoff)
		t.log.Warn().Err(err).Dur("wait", wait).Msg("tap disconnected")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// detach tells every observer that it sees nothing since then.
func (t *tap) detach(since time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn, t.signer.socket, t.complaint = nil, "", ""
	t.trouble = err.Error()
	t.reconnects++
	for _, w := range t.watches {
		if w.attached {
			w.attached = false
			w.observer.State(translators.ChannelState{State: translators.StateDetached, From: since, Detail: t.trouble})
		}
	}
}

// connect connects and handles frames until the connection ends. heard is
// when something was last received; zero when the server never let it in.
func (t *tap) connect(ctx context.Context) (heard time.Time, err error) {
	dialer := websocket.Dialer{HandshakeTimeout: t.config.Timeout, NetDialContext: (&net.Dialer{Timeout: t.config.Timeout}).DialContext}
	conn, resp, err := dialer.DialContext(ctx, t.config.websocketURL(), nil)
	if resp != nil {
		_ = resp.Body.Close() // of a refusal; of an upgrade it is empty
	}
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w (status %d)", err, resp.StatusCode)
		}
		return time.Time{}, fmt.Errorf("connect a tap: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	conn.SetReadLimit(maxFrame)
	if err := conn.SetReadDeadline(time.Now().Add(t.config.Timeout)); err != nil {
		return time.Time{}, err
	}
	_, raw, err := conn.ReadMessage()
	if err != nil {
		return time.Time{}, fmt.Errorf("wait for the server's first frame: %w", err)
	}
	hello, err := decodeEstablished(raw)
	if err != nil {
		return time.Time{}, err
	}
	if err := t.enter(conn, hello.socket); err != nil {
		return time.Time{}, err
	}
	done := make(chan struct{})
	defer close(done)
	t.wg.Go(func() { t.ping(conn, hello.timeout, done) })
	return t.read(conn, hello.timeout)
}

// enter signs in, or makes the connection known and subscribes at once.
func (t *tap) enter(conn *websocket.Conn, id protocol.SocketID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.signer = signer{config: t.config, socket: id}
	if t.user != "" {
		return t.write(conn, t.signer.signIn(t.user))
	}
	t.subscribeAll(conn)
	return nil
}

// subscribeAll makes the connection known and subscribes to what is asked
// for. Called with mu held.
func (t *tap) subscribeAll(conn *websocket.Conn) {
	t.conn, t.trouble = conn, ""
	for channel := range t.watches {
		t.send(t.signer.subscribe(channel))
	}
}

// ping keeps a silent connection alive.
func (t *tap) ping(conn *websocket.Conn, every time.Duration, done <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			t.mu.Lock()
			if err := t.write(conn, message{"pusher:ping", struct{}{}}); err != nil {
				_ = conn.Close()
			}
			t.mu.Unlock()
		case <-done:
			return
		}
	}
}

// read handles frames until the connection ends or falls silent.
func (t *tap) read(conn *websocket.Conn, timeout time.Duration) (heard time.Time, err error) {
	heard = time.Now()
	for {
		if err := conn.SetReadDeadline(heard.Add(timeout + pongPatience)); err != nil {
			return heard, err
		}
		_, raw, err := conn.ReadMessage()
		if err != nil {
			return heard, fmt.Errorf("the tap's connection ended: %w", err)
		}
		heard = time.Now()
		f, err := decodeFrame(raw)
		if err != nil {
			return heard, fmt.Errorf("read a server's frame: %w", err)
		}
		t.handle(conn, f)
	}
}

func (t *tap) handle(conn *websocket.Conn, f frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.watches[f.channel]
	switch f.event {
	case "pusher:ping":
		t.send(message{"pusher:pong", struct{}{}})
	case "pusher:signin_success":
		t.subscribeAll(conn)
	case "pusher_internal:subscription_succeeded":
		if w != nil {
			w.attach()
		}
	case "pusher:subscription_error", "pusher_internal:subscription_error":
		if w != nil {
			w.fail(decodeError(f.data))
		}
	case "pusher:error":
		t.complaint = decodeError(f.data)
		t.failNamed(t.complaint)
	default:
		if w != nil && !strings.HasPrefix(f.event, "pusher:") && !strings.HasPrefix(f.event, "pusher_internal:") {
			w.observer.Deliver(f.envelope())
		}
	}
}

// failNamed fails the subscription that an error tells of in its text, which
// is how some servers refuse one. Called with mu held.
func (t *tap) failNamed(complaint string) {
	for channel, w := range t.watches {
		if !w.attached && strings.HasSuffix(complaint, " "+string(channel)) {
			w.fail(complaint)
		}
	}
}

// attach is the server's confirmation.
func (w *watch) attach() {
	w.attached = true
	if !w.answered {
		w.answered = true
		w.answer <- nil
		return
	}
	w.observer.State(translators.ChannelState{State: translators.StateAttached})
}

// fail is the server's refusal.
func (w *watch) fail(why string) {
	if !w.answered {
		w.answered = true
		w.answer <- errors.New(why)
		return
	}
	w.observer.State(translators.ChannelState{State: translators.StateError, Detail: why})
}
