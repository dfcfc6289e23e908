package ablytest

import (
	"fmt"
	"time"
)

// The actions of presence messages.
const (
	presencePresent = 1
	presenceEnter   = 2
	presenceLeave   = 3
	presenceUpdate  = 4
)

// memberKey is what members are told apart by: a client may be present once
// per connection.
type memberKey struct{ connection, client string }

// acceptPresence changes who is present. Called with mu held.
func (s *Server) acceptPresence(c *connection, f frame) error {
	if err := s.may(c.who, f.Channel, "presence"); err != nil {
		return err
	}
	ch := s.channelOf(f.Channel)
	if _, ok := ch.attached[c]; !ok {
		return errorf(90001, 400, "channel operation failed: not attached to %s", f.Channel)
	}
	for i, m := range f.Presence {
		m, err := m.normal()
		if err != nil {
			return err
		}
		if m.ClientID, err = c.who.as(m.ClientID); err != nil {
			return err
		}
		if m.ClientID == "" || m.Action == nil {
			return errorf(91000, 400, "unable to enter presence channel (no clientId)")
		}
		m.ID, m.ConnectionID, m.Timestamp = fmt.Sprintf("%s:%d:%d", c.id, f.MsgSerial, i), c.id, time.Now().UnixMilli()
		key := memberKey{c.id, m.ClientID}
		_, there := ch.members[key]
		switch *m.Action {
		case presenceEnter, presenceUpdate, presencePresent:
			if !there && len(ch.members) >= s.options.MembersPerChannel {
				return errorf(91003, 400, "unable to enter presence channel (maximum member limit exceeded)")
			}
			ch.members[key] = m
		case presenceLeave:
			delete(ch.members, key)
		default:
			return errorf(40000, 400, "invalid presence action %d", *m.Action)
		}
		ch.tellPresence(m)
	}
	return nil
}

func (ch *channel) tellPresence(m Message) {
	for c := range ch.attached {
		c.send(frame{
			Action: actionPresence, Channel: ch.name, ID: fmt.Sprintf("%s:presence", m.ConnectionID), ConnectionID: m.ConnectionID,
			Timestamp: m.Timestamp, Presence: []Message{m},
		})
	}
}

// leaveAll makes a connection's members leave. Called with mu held.
func (s *Server) leaveAll(c *connection) {
	for _, ch := range s.channels {
		for key, m := range ch.members {
			if key.connection != c.id {
				continue
			}
			delete(ch.members, key)
			leave := presenceLeave
			m.Action, m.Timestamp = &leave, time.Now().UnixMilli()
			m.ID = fmt.Sprintf("synthesised-%s:0:0", c.id) // clients tell by the start whether the member itself has left
			ch.tellPresence(m)
		}
	}
}

// presentNow returns who is present.
func (ch *channel) presentNow() []Message {
	all := make([]Message, 0, len(ch.members))
	for _, m := range ch.members {
		present := presencePresent
		m.Action = &present
		all = append(all, m)
	}
	return all
}
