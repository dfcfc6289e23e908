package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	pusher "github.com/pusher/pusher-http-go/v5"
	"golang.org/x/sync/errgroup"

	"github.com/offramp/offramp/proxy/protocol"
)

// demoTraffic is the demo's customer: browsers with several tabs, a back end
// that publishes, and people who type. It speaks to the gateway as any
// customer would, over real WebSockets and signed HTTP, and counts for itself
// what it got, so that the report can be held against it.
type demoTraffic struct {
	addr   string // gateway, host:port
	app    pusher.Client
	rate   int // publishes a second, all publishers together
	seats  []*demoSeat
	counts demoCounts
}

// demoCounts is what the customer saw.
type demoCounts struct {
	Connected, Published, ClientEvents, Received, Errors atomic.Int64
}

// demoRoom is one channel with those who sit in it and one who publishes to
// it: a single publisher per channel, so that its order is known.
type demoRoom struct {
	channel protocol.ChannelName
	events  []string
	seats   int
	typing  bool // members send client events to each other
}

func demoRooms() []demoRoom {
	rooms := []demoRoom{
		{channel: "scores", events: []string{"goal", "minute"}, seats: 8},
		{channel: "cache-weather", events: []string{"forecast"}, seats: 3},
	}
	for i := range 6 {
		rooms = append(rooms, demoRoom{
			channel: protocol.ChannelName(fmt.Sprintf("private-order-%d", 1000+i)),
			events:  []string{`App\Events\OrderPacked`, `App\Events\OrderSent`}, seats: 2,
		})
	}
	for i := range 4 {
		rooms = append(rooms, demoRoom{
			channel: protocol.ChannelName(fmt.Sprintf("presence-room-%d", 1+i)),
			events:  []string{"message"}, seats: 4, typing: true,
		})
	}
	return rooms
}

// newDemoTraffic returns traffic for the development app behind addr.
func newDemoTraffic(addr string, appID, key, secret string, rate int) *demoTraffic {
	return &demoTraffic{
		addr: addr, rate: rate,
		app: pusher.Client{
			AppID: appID, Key: key, Secret: secret, Host: addr,
			HTTPClient: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		},
	}
}

// seat connects every client and waits until each is subscribed.
func (t *demoTraffic) seat(ctx context.Context) error {
	for _, r := range demoRooms() {
		for i := range r.seats {
			s, err := t.sit(ctx, r, i)
			if err != nil {
				t.leave()
				return fmt.Errorf("connect a client to %s: %w", r.channel, err)
			}
			t.seats = append(t.seats, s)
		}
	}
	return nil
}

// leave closes every client's connection.
func (t *demoTraffic) leave() {
	for _, s := range t.seats {
		s.close()
	}
	t.seats = nil
}

// run publishes until ctx ends or d has passed, and then waits until the
// sockets are quiet.
func (t *demoTraffic) run(ctx context.Context, d time.Duration) error {
	rooms := demoRooms()
	publishing, stop := context.WithTimeout(ctx, d)
	defer stop()
	g, gctx := errgroup.WithContext(publishing)
	interval := time.Second * time.Duration(len(rooms)) / time.Duration(t.rate)
	for i, r := range rooms {
		offset := interval * time.Duration(i) / time.Duration(len(rooms))
		g.Go(func() error { return t.publish(gctx, r, offset, interval) })
	}
	for _, s := range t.seats {
		if s.room.typing {
			g.Go(func() error { return s.typeAway(gctx) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	t.quiet(ctx)
	return ctx.Err()
}

// quiet waits until nothing has arrived for a moment.
func (t *demoTraffic) quiet(ctx context.Context) {
	const calm, patience = 500 * time.Millisecond, 10 * time.Second
	deadline := time.Now().Add(patience)
	last, since := t.counts.Received.Load(), time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) && time.Since(since) < calm {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n := t.counts.Received.Load(); n != last {
			last, since = n, time.Now()
		}
	}
}

// publish sends the room's events at a steady pace, one after the other.
func (t *demoTraffic) publish(ctx context.Context, r demoRoom, offset, interval time.Duration) error {
	timer := time.NewTimer(offset)
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(interval)
		}
		event := r.events[n%len(r.events)]
		data := map[string]any{"n": n, "text": strings.Repeat("offramp ", 1+n%12)}
		if n%10 == 9 {
			data = map[string]any{"heartbeat": true} // the same bytes again and again
		}
		if err := t.app.Trigger(string(r.channel), event, data); err != nil {
			t.counts.Errors.Add(1)
			return fmt.Errorf("publish to %s: %w", r.channel, err)
		}
		t.counts.Published.Add(1)
	}
}

// demoSeat is one client connection on one channel.
type demoSeat struct {
	t      *demoTraffic
	room   demoRoom
	number int // counts the room's seats from 0
	conn   *websocket.Conn
	done   chan struct{}

	mu sync.Mutex // one writer at a time
}

// sit connects a client and waits until it is subscribed.
func (t *demoTraffic) sit(ctx context.Context, r demoRoom, i int) (*demoSeat, error) {
	url := fmt.Sprintf("ws://%s/app/%s?protocol=7&client=offramp-demo&version=1.0", t.addr, t.app.Key)
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	s := &demoSeat{t: t, room: r, number: i, conn: conn, done: make(chan struct{})}
	if err := s.subscribe(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	t.counts.Connected.Add(1)
	go s.read()
	return s, nil
}

func (s *demoSeat) subscribe() error {
	_ = s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var hello struct {
		Event string
		Data  string
	}
	if err := s.conn.ReadJSON(&hello); err != nil {
		return fmt.Errorf("read the greeting: %w", err)
	}
	var greeting struct {
		SocketID protocol.SocketID `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(hello.Data), &greeting); err != nil {
		return fmt.Errorf("unexpected greeting %s: %w", hello.Event, err)
	}
	data := map[string]string{"channel": string(s.room.channel)}
	if s.room.channel.NeedsAuth() {
		var channelData *string
		if s.room.channel.Kind() == protocol.Presence {
			text := fmt.Sprintf(`{"user_id":"user-%d","user_info":{"name":"User %d"}}`, s.number, s.number)
			channelData = &text
			data["channel_data"] = text
		}
		signed := protocol.ChannelString(greeting.SocketID, s.room.channel, channelData)
		data["auth"] = s.t.app.Key + ":" + protocol.Sign(s.t.app.Secret, signed)
	}
	if err := s.conn.WriteJSON(map[string]any{"event": protocol.EventSubscribe, "data": data}); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for {
		_, frame, err := s.conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("wait for the subscription: %w", err)
		}
		var answer struct{ Event string }
		if err := json.Unmarshal(frame, &answer); err != nil {
			return fmt.Errorf("unexpected frame %q: %w", frame, err)
		}
		switch answer.Event {
		case "pusher_internal:subscription_succeeded":
			return s.conn.SetReadDeadline(time.Time{})
		case "pusher:error":
			return fmt.Errorf("refused: %s", frame)
		}
	}
}

// read counts the events that arrive until the connection ends.
func (s *demoSeat) read() {
	defer close(s.done)
	for {
		_, frame, err := s.conn.ReadMessage()
		if err != nil {
			return
		}
		if !strings.HasPrefix(string(frame), `{"event":"pusher`) {
			s.t.counts.Received.Add(1)
		}
	}
}

// typeAway sends a client event now and then. The members of a room take
// turns: of two who type in the same instant, nobody could say who was first.
func (s *demoSeat) typeAway(ctx context.Context) error {
	const pause = 800 * time.Millisecond
	timer := time.NewTimer(pause * time.Duration(1+s.number) / time.Duration(s.room.seats))
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(pause)
		}
		s.mu.Lock()
		err := s.conn.WriteJSON(map[string]any{
			"event": "client-typing", "channel": string(s.room.channel), "data": map[string]int{"keystroke": n},
		})
		s.mu.Unlock()
		if err != nil {
			s.t.counts.Errors.Add(1)
			return fmt.Errorf("send a client event on %s: %w", s.room.channel, err)
		}
		s.t.counts.ClientEvents.Add(1)
	}
}

func (s *demoSeat) close() {
	s.mu.Lock()
	_ = s.conn.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	s.mu.Unlock()
	_ = s.conn.Close()
	<-s.done
}
