package upstream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	tapPing     = 60 * time.Second // a tap's own sign of life
	tapSilence  = 150 * time.Second
	tapRetry    = time.Second
	tapRetryMax = 30 * time.Second
	// tapSays is how many client events the vendor takes from a connection in
	// a second (protocol.md 9). A tap speaks for several clients together.
	tapSays    = 10
	queuedSays = 256
)

// tap is a connection to the vendor on channels that have subscribers here.
// It is open while there are any, and comes back when it is lost.
type tap struct {
	// Set at construction.
	relay *Relay
	app   string
	// seen is called with each frame about a channel, on the tap's goroutine.
	seen func(ctx context.Context, f serverFrame)
	says chan *proxy.Event // client events to say
	wake chan struct{}     // wanted has changed

	mu     sync.Mutex
	wanted map[protocol.ChannelName]*string // and the channel_data, if any
	on     map[protocol.ChannelName]bool    // asked for on this connection
	socket protocol.SocketID                // empty: not connected
	asks   map[protocol.ChannelName]bool    // cache channels whose kept event is still to come
	hears  map[protocol.ChannelName]bool    // confirmed on this connection
	told   map[protocol.ChannelName]chan struct{}
	late   bool // somebody has waited in vain, and nothing was confirmed since
}

func newTap(r *Relay, app string, seen func(context.Context, serverFrame)) *tap {
	return &tap{
		relay: r, app: app, seen: seen, says: make(chan *proxy.Event, queuedSays), wake: make(chan struct{}, 1),
		wanted: make(map[protocol.ChannelName]*string), on: make(map[protocol.ChannelName]bool),
		asks: make(map[protocol.ChannelName]bool), hears: make(map[protocol.ChannelName]bool), told: make(map[protocol.ChannelName]chan struct{}),
	}
}

// want asks for a channel, on a presence channel as the member of channelData.
func (t *tap) want(channel protocol.ChannelName, channelData *string) {
	t.mu.Lock()
	t.wanted[channel] = channelData
	t.mu.Unlock()
	t.nudge()
}

// leave gives a channel up and returns how many are left.
func (t *tap) leave(channel protocol.ChannelName) (left int) {
	t.mu.Lock()
	delete(t.wanted, channel)
	left = len(t.wanted)
	t.mu.Unlock()
	t.nudge()
	return left
}

func (t *tap) nudge() {
	select {
	case t.wake <- struct{}{}:
	default: // it is about to look
	}
}

// at returns the tap's socket id while it is on a channel.
func (t *tap) at(channel protocol.ChannelName) (id protocol.SocketID, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.socket, t.on[channel]
}

// wants reports whether the tap is to be on a channel.
func (t *tap) wants(channel protocol.ChannelName) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, wanted := t.wanted[channel]
	return wanted
}

// difference returns what is to be subscribed to and to be left.
func (t *tap) difference() (join []protocol.Subscribe, leave []protocol.ChannelName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, channel := range slices.Sorted(maps.Keys(t.wanted)) {
		if !t.on[channel] {
			join = append(join, protocol.Subscribe{Channel: channel, ChannelData: t.wanted[channel]})
		}
	}
	for _, channel := range slices.Sorted(maps.Keys(t.on)) {
		if _, wanted := t.wanted[channel]; !wanted {
			leave = append(leave, channel)
		}
	}
	return join, leave
}

// run keeps the tap open while there are channels to tap.
func (t *tap) run(ctx context.Context) {
	defer t.silence()
	for pause := tapRetry; ctx.Err() == nil; {
		if join, _ := t.difference(); len(join) == 0 {
			select {
			case <-t.wake:
			case ev := <-t.says:
				t.lose(ev, "client event not brought to the upstream: its channel is not tapped")
			case <-ctx.Done():
			}
			continue
		}
		from := time.Now()
		if t.open(ctx) {
			pause = tapRetry
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		t.relay.offer(proxy.Record{
			Kind: proxy.KindGap, From: from, At: time.Now(), Leg: proxy.LegVendor, Topic: proxy.Topic{App: t.app}, Text: "tap not connected",
		})
		pause = min(2*pause, tapRetryMax)
	}
}

// open connects and works the tap until it ends. It reports whether it is
// worth trying again soon.
func (t *tap) open(ctx context.Context) (soon bool) {
	app, ok := t.relay.settings.Apps.ByID(t.app)
	if !ok || app.Upstream == nil {
		return false
	}
	info := proxy.Client{Key: app.Credentials[0].Key, Library: library, Protocol: 7}
	v, err := t.relay.dialVendor(ctx, app, &info)
	if err == nil {
		soon = true
		err = t.serve(ctx, app, v)
	}
	if ctx.Err() == nil {
		t.relay.settings.Log.Warn().Err(err).Str("app", t.app).Msg("tap on the upstream is closed")
	}
	var closed *websocket.CloseError
	refused := errors.As(err, &closed) && closed.Code >= 4000 && closed.Code < 4100 // and would be again
	return soon && !refused
}

func (t *tap) serve(ctx context.Context, app *proxy.App, v *vendorConn) error {
	t.connected(v.socket)
	defer t.connected("")
	messages, failed := make(chan []byte), make(chan error, 1)
	ended := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { failed <- v.readAll(messages, ended) })
	defer func() {
		v.leave()
		close(ended)
		reading.Wait()
	}()
	ping := time.NewTicker(tapPing)
	defer ping.Stop()
	says := rate.NewLimiter(tapSays, tapSays)
	for {
		var err error
		select {
		case <-t.wake:
			// What was said before a channel was given up comes first.
			if err = t.sayAll(v, says); err == nil {
				err = t.resubscribe(app, v)
			}
		case text := <-messages:
			if f, ok := readServerFrame(text); ok && f.channel != "" {
				f.kept = t.keeps(f)
				t.seen(ctx, f)
				t.tell(f)
			}
		case ev := <-t.says:
			err = t.say(v, ev, says)
		case <-ping.C:
			err = v.write([]byte(`{"event":"pusher:ping","data":{}}`))
		case err = <-failed:
		case <-ctx.Done():
			_ = t.sayAll(v, says) // a connection that fails takes the rest with it
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// sayAll says what is queued.
func (t *tap) sayAll(v *vendorConn, says *rate.Limiter) error {
	for range len(t.says) {
		if err := t.say(v, <-t.says, says); err != nil {
			return err
		}
	}
	return nil
}

func (t *tap) connected(id protocol.SocketID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == "" {
		t.relay.ids.closed(t.socket)
	} else {
		t.relay.ids.opened(id, "")
	}
	t.socket = id
	clear(t.on)
	clear(t.asks)
	clear(t.hears)
	t.nudge()
}

// resubscribe makes the tap's channels those that are wanted.
func (t *tap) resubscribe(app *proxy.App, v *vendorConn) error {
	join, leave := t.difference()
	for _, channel := range leave {
		if err := v.write(unsubscribeFrame(channel)); err != nil {
			return err
		}
		t.mu.Lock()
		delete(t.on, channel)
		delete(t.hears, channel)
		t.mu.Unlock()
	}
	for _, sub := range join {
		t.mu.Lock()
		t.on[sub.Channel] = true
		t.mu.Unlock()
		if err := v.write(subscribeFrame(app, v.socket, sub)); err != nil {
			return err
		}
	}
	return nil
}

// say tells the vendor's clients what a client here said. The vendor does not
// return it to the tap.
func (t *tap) say(v *vendorConn, ev *proxy.Event, says *rate.Limiter) error {
	if _, on := t.at(ev.Topic.Channel); !on || !says.Allow() {
		t.lose(ev, "client event not brought to the upstream: its limit for one connection")
		return nil
	}
	defer t.relay.settings.Feed.of(t.app).settle(ev)
	frame := protocol.AppendString([]byte(`{"event":`), ev.Name)
	frame = protocol.AppendString(append(frame, `,"channel":`...), ev.Topic.Channel)
	frame = protocol.AppendString(append(frame, `,"data":`...), ev.Data)
	if err := v.write(append(frame, '}')); err != nil {
		return err
	}
	t.relay.metrics.bridged.WithLabelValues(t.app, "up").Inc()
	return nil
}

// silence gives up the client events that are left.
func (t *tap) silence() {
	for {
		select {
		case ev := <-t.says:
			t.lose(ev, "client event not brought to the upstream: the tap is closed")
		default:
			return
		}
	}
}

// lose notes that the vendor will not have a client event.
func (t *tap) lose(ev *proxy.Event, why string) {
	t.relay.lose(ev, why)
	t.relay.settings.Feed.of(t.app).settle(ev)
}
