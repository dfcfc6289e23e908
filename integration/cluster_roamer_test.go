package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy/protocol"
)

// roamer is a client that behaves as pusher-js does: when its connection ends
// it makes another one, to a node that the load balancer still sends to, and
// subscribes to everything again. It keeps what it was told.
type roamer struct {
	world    *world
	name     string
	user     string
	home     int // the node that it connects to if it can
	channels []string
	watches  []string // users on its watchlist; nil: it does not sign in

	cancel context.CancelFunc
	ended  chan struct{}

	mu       sync.Mutex
	session  *clientSession // nil: there is no connection
	sessions []*clientSession
	faults   []string // what it was told that cannot be
}

// clientSession is one connection of a roamer.
type clientSession struct {
	node   int
	conn   *websocket.Conn
	socket protocol.SocketID

	// Guarded by the roamer's mu.
	joined map[string]map[string]bool // by channel: its members, as far as known
	counts map[string]int             // subscription counts, as last told
	online map[string]bool            // of those that it watches; nil: not told yet
	heard  time.Time                  // when the news channel was joined
	news   []string                   // events of the news channel, in order
	ended  time.Time
	code   int
}

// news is the channel that carries the drills' events.
const news = "private-news"

func (r *roamer) run(ctx context.Context) {
	defer close(r.ended)
	for again := 0; ctx.Err() == nil; again++ {
		node := r.world.route(r.home + again)
		code := r.connect(ctx, node)
		if code >= 4000 && code < 4200 && code != protocol.CodeOverCapacity {
			r.fault("closed for good with %d by node %d", code, node)
			return
		}
		if code == protocol.CodeReconnect {
			again--
			continue // at once, and where it wants to be
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// connect holds one connection until it ends, and returns the close code.
func (r *roamer) connect(ctx context.Context, node int) int {
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+r.world.nodes[node].Addr+"/app/"+harness.Key+"?protocol=7&client=js&version=8.4.0", nil)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	s := &clientSession{node: node, conn: conn, joined: make(map[string]map[string]bool), counts: make(map[string]int)}
	r.mu.Lock()
	r.session, r.sessions = s, append(r.sessions, s)
	r.mu.Unlock()
	for {
		_, raw, err := conn.ReadMessage()
		if err != nil {
			var closed *websocket.CloseError
			r.mu.Lock()
			defer r.mu.Unlock()
			s.ended = time.Now()
			if errors.As(err, &closed) {
				s.code = closed.Code
			}
			r.session = nil
			return s.code
		}
		r.take(s, raw)
	}
}

func (r *roamer) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, r.name+": "+fmt.Sprintf(format, args...))
}

// take notes what a frame says.
func (r *roamer) take(s *clientSession, raw []byte) {
	var frame struct {
		Event, Channel string
		Data           json.RawMessage
	}
	if err := json.Unmarshal(raw, &frame); err != nil {
		r.fault("frame %s: %v", raw, err)
		return
	}
	var text string
	_ = json.Unmarshal(frame.Data, &text) // pusher:error has an object there
	var data struct {
		SocketID string   `json:"socket_id"`
		UserID   string   `json:"user_id"`
		Count    int      `json:"subscription_count"`
		Presence presence `json:"presence"`
		Events   []struct {
			Name string
			IDs  []string `json:"user_ids"`
		}
	}
	if strings.HasPrefix(frame.Event, "pusher") {
		_ = json.Unmarshal([]byte(text), &data)
	}
	if frame.Event == "pusher:connection_established" {
		s.socket = protocol.SocketID(data.SocketID)
		r.greet(s)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	members := s.joined[frame.Channel]
	wrong := func() { r.faults = append(r.faults, fmt.Sprintf("%s on node %d: told %s", r.name, s.node, raw)) }
	switch frame.Event {
	case "pusher_internal:subscription_succeeded":
		if members != nil {
			wrong()
		}
		s.joined[frame.Channel] = data.Presence.set()
		if frame.Channel == news {
			s.heard = time.Now()
		}
	case "pusher_internal:member_added":
		if members == nil || members[data.UserID] {
			wrong()
		} else {
			members[data.UserID] = true
		}
	case "pusher_internal:member_removed":
		if !members[data.UserID] || data.UserID == r.user {
			wrong()
		}
		delete(members, data.UserID)
	case "pusher_internal:subscription_count":
		s.counts[frame.Channel] = data.Count
	case "pusher_internal:watchlist_events":
		if s.online == nil {
			s.online = make(map[string]bool)
		}
		for _, e := range data.Events {
			for _, id := range e.IDs {
				s.online[id] = e.Name == "online"
			}
		}
	case "pusher:signin_success":
	case "news":
		s.news = append(s.news, text)
	default:
		wrong()
	}
}

// presence is the part of a confirmation that lists members.
type presence struct{ IDs []string }

func (p presence) set() map[string]bool {
	set := make(map[string]bool)
	for _, id := range p.IDs {
		set[id] = true
	}
	return set
}

// greet signs in and subscribes, once there is a socket id to sign for.
func (r *roamer) greet(s *clientSession) {
	command := func(event string, data map[string]string) {
		frame, _ := json.Marshal(map[string]any{"event": event, "data": data}) // strings always marshal
		_ = s.conn.WriteMessage(websocket.TextMessage, frame)                  // the reader sees a connection that has ended
	}
	if r.watches != nil {
		user, _ := json.Marshal(map[string]any{"id": r.user, "watchlist": r.watches})
		command("pusher:signin", map[string]string{
			"user_data": string(user), "auth": harness.Key + ":" + protocol.Sign(harness.Secret, protocol.UserString(s.socket, string(user))),
		})
	}
	for _, channel := range r.channels {
		data := map[string]string{"channel": channel}
		var channelData *string
		if strings.HasPrefix(channel, "presence-") {
			text := `{"user_id":"` + r.user + `"}`
			channelData, data["channel_data"] = &text, text
		}
		data["auth"] = harness.Key + ":" + protocol.Sign(harness.Secret, protocol.ChannelString(s.socket, protocol.ChannelName(channel), channelData))
		command("pusher:subscribe", data)
	}
}

// leave ends the client for good.
func (r *roamer) leave() {
	r.cancel()
	<-r.ended
	r.world.forget(r)
}

// is reports whether the client is connected and has all its subscriptions.
func (r *roamer) is() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session != nil && len(r.session.joined) == len(r.channels)
}

// view returns what the client believes: its channels' members, and who of
// those that it watches is online.
func (r *roamer) view() (members map[string][]string, online []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	members = make(map[string][]string)
	if r.session == nil {
		return members, nil
	}
	for channel, set := range r.session.joined {
		members[channel] = slices.Sorted(maps.Keys(set))
	}
	for id, is := range r.session.online {
		if is {
			online = append(online, id)
		}
	}
	slices.Sort(online)
	return members, online
}
