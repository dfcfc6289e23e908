package upstream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	tapPing     = 60 * time.Second // the tap's own sign of life
	tapSilence  = 150 * time.Second
	tapRetry    = time.Second
	tapRetryMax = 30 * time.Second
	// tapSays is how many client events the vendor takes from a connection in
	// a second (protocol.md 9). The tap speaks for all clients here together.
	tapSays = 10
)

// want notes whether a channel has subscribers here. Presence channels are
// not tapped, for the tap would be a member; nor are users' own, for it would
// have to be the user. Rooms and users move whole.
func (b *bridge) want(channel protocol.ChannelName, wanted bool) {
	if k := channel.Kind(); k == protocol.Presence || k == protocol.ServerToUser {
		return
	}
	b.mu.Lock()
	if wanted {
		b.wanted[channel] = true
	} else {
		delete(b.wanted, channel)
	}
	b.mu.Unlock()
	b.nudge()
}

// nudge has the tap look at what is wanted.
func (b *bridge) nudge() {
	select {
	case b.wake <- struct{}{}:
	default: // it is about to
	}
}

// difference returns what the tap has to subscribe to and to leave.
func (b *bridge) difference() (join, leave []protocol.ChannelName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for channel := range b.wanted {
		if !b.on[channel] {
			join = append(join, channel)
		}
	}
	for channel := range b.on {
		if !b.wanted[channel] {
			leave = append(leave, channel)
		}
	}
	slices.Sort(join)
	slices.Sort(leave)
	return join, leave
}

// listen keeps the tap open while there are channels to tap.
func (b *bridge) listen(ctx context.Context) {
	defer b.silence()
	for pause := tapRetry; ctx.Err() == nil; {
		if join, _ := b.difference(); len(join) == 0 {
			select {
			case <-b.wake:
			case ev := <-b.says:
				b.lose(ev, "client event not brought to the upstream: its channel is not tapped")
				b.settle(ev)
			case <-ctx.Done():
			}
			continue
		}
		app, ok := b.app()
		if !ok {
			return
		}
		info := proxy.Client{Key: app.Credentials[0].Key, Library: library, Protocol: 7}
		v, err := b.relay.dialVendor(ctx, app, &info)
		if err == nil {
			pause = tapRetry
			err = b.serve(ctx, app, v)
		}
		if ctx.Err() != nil {
			return
		}
		b.relay.settings.Log.Warn().Err(err).Str("app", b.id).Dur("again_in", pause).Msg("tap on the upstream is closed")
		var closed *websocket.CloseError
		if errors.As(err, &closed) && closed.Code >= 4000 && closed.Code < 4100 {
			pause = tapRetryMax // it would only be refused again
		}
		from := time.Now()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		b.missed(from)
		pause = min(2*pause, tapRetryMax)
	}
}

// silence gives up the client events that are left.
func (b *bridge) silence() {
	for {
		select {
		case ev := <-b.says:
			b.lose(ev, "client event not brought to the upstream: the tap is closed")
			b.settle(ev)
		default:
			return
		}
	}
}

// missed says that nothing could be seen of the vendor for a while.
func (b *bridge) missed(from time.Time) {
	b.relay.offer(proxy.Record{
		Kind: proxy.KindGap, From: from, At: time.Now(), Leg: proxy.LegVendor, Topic: proxy.Topic{App: b.id}, Text: "tap not connected",
	})
}

// serve works the tap until it ends.
func (b *bridge) serve(ctx context.Context, app *proxy.App, v *vendorConn) error {
	b.connected(v.socket)
	defer b.connected("")
	messages, failed := make(chan []byte), make(chan error, 1)
	ended := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { failed <- b.read(v, messages, ended) })
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
		case <-b.wake:
			err = b.resubscribe(app, v)
		case text := <-messages:
			b.arrived(ctx, app, text)
		case ev := <-b.says:
			err = b.say(v, ev, says)
		case <-ping.C:
			err = v.write([]byte(`{"event":"pusher:ping","data":{}}`))
		case err = <-failed:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

func (b *bridge) connected(id protocol.SocketID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.socket = id
	clear(b.on)
	b.nudge()
}

func (b *bridge) read(v *vendorConn, messages chan<- []byte, ended <-chan struct{}) error {
	for {
		if err := v.ws.SetReadDeadline(time.Now().Add(tapSilence)); err != nil {
			return err
		}
		_, text, err := v.ws.ReadMessage()
		if err != nil {
			return err
		}
		select {
		case messages <- text:
		case <-ended:
			return nil
		}
	}
}

// resubscribe makes the tap's channels those that are wanted.
func (b *bridge) resubscribe(app *proxy.App, v *vendorConn) error {
	join, leave := b.difference()
	for _, channel := range join {
		if err := v.write(subscribeFrame(app, v.socket, protocol.Subscribe{Channel: channel})); err != nil {
			return err
		}
		b.set(channel, true)
	}
	for _, channel := range leave {
		if err := v.write(unsubscribeFrame(channel)); err != nil {
			return err
		}
		b.set(channel, false)
	}
	return nil
}

func (b *bridge) set(channel protocol.ChannelName, on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if on {
		b.on[channel] = true
	} else {
		delete(b.on, channel)
	}
}

// arrived brings an event of the vendor's to the engine.
func (b *bridge) arrived(ctx context.Context, app *proxy.App, text []byte) {
	f, ok := readServerFrame(text)
	if !ok || f.internal() || f.channel == "" {
		return
	}
	data := f.content()
	b.mu.Lock()
	echo := b.echoes.take(f.channel, f.event, data, time.Now())
	b.mu.Unlock()
	if echo {
		return
	}
	p := engine.Publication{
		Channels: []protocol.ChannelName{f.channel}, Name: f.event, Data: data, Origin: proxy.LegVendor, UserID: f.userID,
	}
	if strings.HasPrefix(f.event, protocol.ClientEventPrefix) {
		p.Publisher = proxy.ByClient
	}
	if err := b.relay.settings.Engine.Publish(ctx, app, p); err != nil {
		b.relay.settings.Log.Error().Err(err).Str("app", b.id).Msg("event of the upstream not brought to the engine")
		return
	}
	b.relay.metrics.bridged.WithLabelValues(b.id, "down").Inc()
}

// say tells the vendor's clients what a client here said. The vendor does not
// return it to the tap.
func (b *bridge) say(v *vendorConn, ev *proxy.Event, says *rate.Limiter) error {
	defer b.settle(ev)
	b.mu.Lock()
	on := b.on[ev.Topic.Channel]
	b.mu.Unlock()
	if !on || !says.Allow() {
		b.lose(ev, "client event not brought to the upstream: its limit for one connection")
		return nil
	}
	frame := protocol.AppendString([]byte(`{"event":`), ev.Name)
	frame = protocol.AppendString(append(frame, `,"channel":`...), ev.Topic.Channel)
	frame = protocol.AppendString(append(frame, `,"data":`...), ev.Data)
	if err := v.write(append(frame, '}')); err != nil {
		return err
	}
	b.relay.metrics.bridged.WithLabelValues(b.id, "up").Inc()
	return nil
}
