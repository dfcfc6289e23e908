package upstream

import (
	"context"
	"sync/atomic"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/fanout"
	"github.com/offramp/offramp/proxy/protocol"
)

// maxGhosts bounds the connections to the vendor that one app's presence
// takes. Users beyond it are not shown there.
const maxGhosts = 1000

// ghost shows one user of ours at the vendor, on the presence channels that
// the user is on.
type ghost struct {
	user string
	tap  *tap
	stop context.CancelFunc
	done chan struct{} // closed when it has ended

	// Owned by people: whom it was told of, with their info, by channel.
	channels map[protocol.ChannelName]bool
	sees     map[protocol.ChannelName]map[string][]byte
}

// ghostNews is a frame that a ghost was sent.
type ghostNews struct {
	ghost *ghost
	frame serverFrame
}

func (g *ghost) on(channel protocol.ChannelName) bool { return g.channels[channel] }

func (g *ghost) end() {
	g.stop()
	<-g.done
}

// show puts a user's ghost on a channel, and makes it first.
func (p *people) show(ctx context.Context, user string, channel protocol.ChannelName) *ghost {
	g := p.there[user]
	if g != nil && g.on(channel) {
		return g
	}
	if g == nil {
		if len(p.there) >= maxGhosts {
			p.bridge.relay.settings.Log.Warn().Str("app", p.bridge.id).Int("limit", maxGhosts).Msg("too many users to show all of them to the upstream")
			return nil
		}
		g = p.newGhost(ctx, user)
	}
	g.channels[channel] = true
	data := p.memberData(ctx, user, channel)
	g.tap.want(channel, &data)
	return g
}

func (p *people) newGhost(ctx context.Context, user string) *ghost {
	g := &ghost{
		user: user, done: make(chan struct{}),
		channels: make(map[protocol.ChannelName]bool), sees: make(map[protocol.ChannelName]map[string][]byte),
	}
	g.tap = newTap(p.bridge.relay, p.bridge.id, func(ctx context.Context, f serverFrame) {
		select {
		case p.news <- ghostNews{g, f}:
		case <-ctx.Done():
		}
	})
	ctx, g.stop = context.WithCancel(ctx)
	go func() {
		defer close(g.done)
		g.tap.run(ctx)
	}()
	p.there[user] = g
	p.mu.Lock()
	p.says[user] = g
	p.mu.Unlock()
	return g
}

// withdraw takes a ghost off a channel. One without channels ends.
func (p *people) withdraw(g *ghost, channel protocol.ChannelName) {
	if !g.on(channel) {
		return
	}
	delete(g.channels, channel)
	delete(g.sees, channel)
	if g.tap.leave(channel) > 0 {
		return
	}
	delete(p.there, g.user)
	p.mu.Lock()
	delete(p.says, g.user)
	p.mu.Unlock()
	g.end()
}

// memberData returns the channel_data of a user who is here, or about to be.
func (p *people) memberData(ctx context.Context, user string, channel protocol.ChannelName) string {
	if data, coming := p.rooms[channel].data[user]; coming {
		return data
	}
	topic := proxy.Topic{App: p.bridge.id, Channel: channel}
	members, err := p.bridge.relay.settings.Engine.Members(ctx, topic)
	if err != nil {
		p.bridge.relay.settings.Log.Error().Err(err).Str("channel", topic.String()).Msg("a user is shown to the upstream without info")
	}
	for _, m := range members {
		if m.UserID == user {
			return channelData(user, m.Info)
		}
	}
	return channelData(user, nil)
}

func channelData(user string, info []byte) string {
	data := protocol.AppendString([]byte(`{"user_id":`), user)
	if len(info) > 0 {
		data = append(append(data, `,"user_info":`...), info...)
	}
	return string(append(data, '}'))
}

// ghostHere shows one user of the vendor's on one channel of the engine.
type ghostHere struct {
	people *people
	conn   *engine.Conn
	over   atomic.Bool // the engine has closed it
}

var _ engine.Outlet = (*ghostHere)(nil)

// ghostTransport is how a ghost in the engine is connected.
const ghostTransport = "bridge"

// haunt makes the vendor's users that are shown here the strangers who are
// not here themselves.
func (p *people) haunt(channel protocol.ChannelName, room *shared, strangers map[string][]byte, users map[string]bool) {
	for user, g := range room.ghosts {
		if _, there := strangers[user]; !there || users[user] || g.over.Load() {
			g.end()
			delete(room.ghosts, user)
		}
	}
	for user, info := range strangers {
		if room.ghosts[user] != nil || users[user] {
			continue
		}
		if g := p.newGhostHere(channel, user, info); g != nil {
			room.ghosts[user] = g
		}
	}
}

func (p *people) newGhostHere(channel protocol.ChannelName, user string, info []byte) *ghostHere {
	app, ok := p.bridge.app()
	if !ok {
		return nil
	}
	g := &ghostHere{people: p}
	client := proxy.Client{Key: app.Credentials[0].Key, Library: library, Protocol: 7, Transport: ghostTransport}
	conn, refused := p.bridge.relay.settings.Engine.Connect(app, client, g)
	if refused != nil {
		p.bridge.relay.settings.Log.Warn().Str("reason", refused.Error()).Str("app", app.ID).Msg("a user of the upstream cannot be shown here")
		return nil
	}
	g.conn = conn
	p.mu.Lock()
	p.here[conn.SocketID()] = channel
	p.mu.Unlock()
	data := channelData(user, info)
	conn.Handle(subscribeFrame(app, conn.SocketID(), protocol.Subscribe{Channel: channel, ChannelData: &data}))
	return g
}

// ghosts returns how many ghosts are on a channel, of either side.
func (p *people) ghosts(channel protocol.ChannelName) (o own) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, on := range p.here {
		if on == channel {
			o.here++
		}
	}
	for _, g := range p.says {
		if _, on := g.tap.at(channel); on {
			o.there++
		}
	}
	return o
}

// isGhost reports whether a connection to the engine is a ghost's.
func (p *people) isGhost(id protocol.SocketID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ghost := p.here[id]
	return ghost
}

func (g *ghostHere) end() { g.conn.Close(0, "") }

// Send implements fanout.Outlet: a ghost listens to nothing.
func (g *ghostHere) Send(*fanout.Batch, int) bool { return true }

// Close implements engine.Outlet. Whoever owns the ghost ends it.
func (g *ghostHere) Close(int, string) {
	g.over.Store(true)
	select {
	case g.people.nudged <- struct{}{}:
	default: // people is about to look
	}
}
