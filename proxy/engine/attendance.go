package engine

import (
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Attendance is one client's subscription to a presence channel.
type Attendance struct {
	Channel protocol.ChannelName
	Socket  protocol.SocketID
	UserID  string
	Client  proxy.Client
}

// Attendances returns the subscriptions to presence channels that clients of
// this node have, in no particular order. One that is made or given up
// meanwhile may or may not be among them; the record of it (KindSubscribed,
// KindUnsubscribed) is then offered after this call has begun.
func (e *Engine) Attendances(app string) []Attendance {
	t := e.tenant(app)
	var all []Attendance
	for _, c := range e.conns.all(func(c *Conn) bool { return c.tenant == t }) {
		all = append(all, c.attendances()...)
	}
	return all
}

func (c *Conn) attendances() (all []Attendance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sub := range c.joined.all() {
		if name := sub.channel.name; name.Kind() == protocol.Presence {
			all = append(all, Attendance{Channel: name, Socket: c.id, UserID: sub.userID, Client: *c.client})
		}
	}
	return all
}
