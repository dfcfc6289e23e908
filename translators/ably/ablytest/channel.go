package ablytest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// dedupeWindow is how long an id is remembered (vendor documentation:
	// "Idempotent publishing").
	dedupeWindow = 2 * time.Minute
	maxHistory   = 20_000 // publishes kept of a channel
)

// channel is a channel. It is guarded by the server's mu.
type channel struct {
	name     string
	epoch    string                // of the server's life
	attached map[*connection]int64 // mode flags
	members  map[memberKey]Message
	history  []publish
	next     int64                // serial of the next publish
	ids      map[string]time.Time // of messages, as given by their publishers
	tokens   float64              // of the rate limit
	filled   time.Time            // when tokens was right
}

// publish is one accepted publish.
type publish struct {
	serial       int64
	id           string
	connectionID string
	at           time.Time
	messages     []Message
}

// channelOf returns a channel, which it makes if need be. Called with mu held.
func (s *Server) channelOf(name string) *channel {
	ch, ok := s.channels[name]
	if !ok {
		ch = &channel{
			name: name, epoch: s.epoch, attached: map[*connection]int64{}, members: map[memberKey]Message{}, ids: map[string]time.Time{},
			tokens: float64(s.options.PublishesPerSecond), filled: time.Now(), next: 1,
		}
		s.channels[name] = ch
	}
	return ch
}

// validName refuses what cannot be a channel's name.
func validName(name string) error {
	if name == "" || strings.HasPrefix(name, ":") || strings.HasPrefix(name, "[") || strings.ContainsAny(name, "\n\r") {
		return errorf(40010, 400, "invalid channel name: %q", name)
	}
	return nil
}

// accept publishes messages. from is nil for the REST interface. Called with
// mu held.
func (s *Server) accept(name string, who identity, from *connection, base string, messages []Message) error {
	if err := validName(name); err != nil {
		return err
	}
	if err := s.may(who, name, "publish"); err != nil {
		return err
	}
	now := time.Now()
	p := publish{id: base, at: now}
	if from != nil {
		p.connectionID = from.id
	}
	given := 0
	for i, m := range messages {
		m, err := m.normal()
		if err != nil {
			return err
		}
		if m.ClientID, err = who.as(m.ClientID); err != nil {
			return err
		}
		if m.ID != "" {
			given++
		} else {
			m.ID = fmt.Sprintf("%s:%d", base, i)
		}
		m.ConnectionID, m.Timestamp, m.Action = p.connectionID, now.UnixMilli(), nil
		p.messages = append(p.messages, m)
	}
	if err := checkIDs(p.messages, given); err != nil {
		return err
	}
	if n := size(p.messages); n > s.options.MaxMessageSize {
		return errorf(40009, 413, "maximum message length exceeded (size was %d bytes, limit is %d bytes)", n, s.options.MaxMessageSize)
	}
	ch := s.channelOf(name)
	if !ch.take(now, float64(s.options.PublishesPerSecond)) {
		return errorf(42911, 429, "rate limit exceeded: more than %d publishes per second on channel %s", s.options.PublishesPerSecond, name)
	}
	s.publishes++
	if given > 0 && ch.known(p.messages[0].ID, now) {
		return nil
	}
	ch.deliver(p)
	return nil
}

// checkIDs refuses ids that publishers may not give: those of several
// messages in one publish must be of one base with their index (vendor
// documentation: "Idempotent publishing").
func checkIDs(messages []Message, given int) error {
	if given == 0 || len(messages) == 1 {
		return nil
	}
	base, _, _ := strings.Cut(messages[0].ID, ":")
	for i, m := range messages {
		if m.ID != base+":"+strconv.Itoa(i) || given != len(messages) {
			return errorf(40031, 400, "invalid publish request (invalid client-specified id): %q", m.ID)
		}
	}
	return nil
}

// as returns the client id that a message bears.
func (who identity) as(claimed string) (string, error) {
	switch {
	case who.clientID == "*" || claimed == who.clientID:
		return claimed, nil
	case claimed == "":
		return who.clientID, nil
	}
	return "", errorf(40012, 400, "invalid client id: %q is not who is connected", claimed)
}

// take takes a token of the rate limit.
func (ch *channel) take(now time.Time, rate float64) bool {
	ch.tokens = min(rate, ch.tokens+now.Sub(ch.filled).Seconds()*rate)
	ch.filled = now
	if ch.tokens < 1 {
		return false
	}
	ch.tokens--
	return true
}

// known reports whether an id was published lately, and remembers it.
func (ch *channel) known(id string, now time.Time) bool {
	at, seen := ch.ids[id]
	if seen && now.Sub(at) < dedupeWindow {
		return true
	}
	if len(ch.ids) > maxHistory {
		clear(ch.ids)
	}
	ch.ids[id] = now
	return false
}

// deliver keeps a publish and sends it to whoever is attached.
func (ch *channel) deliver(p publish) {
	p.serial = ch.next
	ch.next++
	ch.history = append(ch.history, p)
	if len(ch.history) > maxHistory {
		ch.history = append([]publish(nil), ch.history[maxHistory/2:]...)
	}
	for c, modes := range ch.attached {
		if modes&flagSubscribe != 0 {
			c.sendPublish(ch, p)
		}
	}
}

// serialText is a channel's position as clients are told it. It is of this
// server: another one, started later, knows nothing of it.
func (ch *channel) serialText(n int64) string { return fmt.Sprintf("%s-%012d@0", ch.epoch, n) }

func (ch *channel) parseSerial(text string) (int64, bool) {
	digits, ok := strings.CutPrefix(text, ch.epoch+"-")
	digits, found := strings.CutSuffix(digits, "@0")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && found && err == nil
}

// since returns the publishes after a position. ok is false when it is not
// known any more.
func (ch *channel) since(text string) (missed []publish, ok bool) {
	n, ok := ch.parseSerial(text)
	if !ok || n >= ch.next {
		return nil, false
	}
	if len(ch.history) > 0 && n+1 < ch.history[0].serial {
		return nil, false
	}
	for i, p := range ch.history {
		if p.serial > n {
			return ch.history[i:], true
		}
	}
	return nil, true
}
