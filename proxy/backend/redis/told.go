package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Told is what webhook receivers were told to be there by any node: occupied
// channels, and members. Each call is one round trip.
//
// A call may be carried out and its answer lost. So Redis keeps the answer for
// a while, under a name that is the call's: who asks once more gets the same.
type Told struct {
	keys   keys
	client client
	node   uint64

	ledger *Ledger

	mu   sync.Mutex
	seq  uint64
	open map[string]string // by entry: the call of a departure that has no answer
	owed map[string]owed   // by entry
	told []unasked         // without asking, oldest first
}

// unasked is an arrival that receivers were told of though Redis gave no
// answer: it may not know that they were.
type unasked struct {
	topic       proxy.Topic
	entry, call string
}

// owed is what this node has seen, and what receivers have not been told yet:
// if Redis loses its memory meanwhile, what they were told is the contrary.
type owed struct {
	topic    proxy.Topic
	entry    string
	departed bool
}

// maxOwed bounds them. Receivers are told within seconds, as a rule.
const maxOwed = 1 << 16

// answeredFor is how long answers are kept.
const answeredFor = 10 * time.Minute

// toldTries is how often Redis is asked of an arrival while it says nothing.
const toldTries = 4

func newTold(s Settings, client client, ledger *Ledger) *Told {
	return &Told{
		keys: keys{s.Prefix}, client: client, node: s.Node, ledger: ledger, open: make(map[string]string), owed: make(map[string]owed),
	}
}

// owe notes an arrival or a departure that receivers will be told of.
func (w *Told) owe(t proxy.Topic, member bool, userID string, departed bool) {
	o := owed{t, toldEntry(t, member, userID), departed}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.owed) < maxOwed {
		w.owed[w.keys.told(t)+o.entry] = o
	}
}

// departures returns the departures that receivers have not been told of.
func (w *Told) departures() (list []owed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.owed {
		if o.departed {
			list = append(list, o)
		}
	}
	return list
}

// arriving reports whether receivers have not been told of an arrival yet.
func (w *Told) arriving(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	o, is := w.owed[id]
	return is && !o.departed
}

// call names a call on an entry: the one whose answer is missing, or a new one.
func (w *Told) call(id string) (call, open string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	return strconv.FormatUint(w.node, 16) + "." + strconv.FormatUint(w.seq, 16), w.open[id]
}

// settle notes whether a departure's call has its answer.
func (w *Told) settle(id, call string, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if answered {
		delete(w.open, id)
	} else {
		w.open[id] = call
	}
}

// Arrived notes that receivers are told of a channel, or of a user who is a
// member, and reports whether they have not been told before.
func (w *Told) Arrived(ctx context.Context, t proxy.Topic, member bool, userID string) (news bool, err error) {
	entry := toldEntry(t, member, userID)
	told := w.keys.told(t)
	call, open := w.call(told + entry)
	names := []string{told, w.keys.answered(t, call), w.keys.answered(t, open)}
	for range toldTries {
		var n int
		if n, err = w.run(ctx, arriveScript, names, entry, answeredFor.Milliseconds()); err == nil {
			w.settle(told+entry, open, true)
			w.paid(told + entry)
			return n == 1, nil
		}
		// Redis that hangs knows the call afterwards; one that dies does not.
		if timedOut := net.Error(nil); !errors.As(err, &timedOut) || !timedOut.Timeout() {
			break
		}
	}
	w.paid(told + entry)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.told) < maxOwed {
		w.told = append(w.told, unasked{t, entry, call})
	}
	return false, fmt.Errorf("redis: note an arrival on %s: %w", t, err)
}

// askAgain has Redis know of the arrivals that were told without asking, and
// notes those who have gone since: nobody could tell of that.
func (w *Told) askAgain(ctx context.Context, note func(proxy.Change)) error {
	w.mu.Lock()
	list := w.told
	w.told = nil
	w.mu.Unlock()
	for i, u := range list {
		gone, err := w.ask(ctx, u)
		if err != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(list[i:], w.told...)
			return fmt.Errorf("redis: note an arrival on %s: %w", u.topic, err)
		}
		if gone {
			note(toldChange(u.topic.App, u.entry))
		}
	}
	return nil
}

// ask reports whether Redis did not know of an arrival, and its subject is not there.
func (w *Told) ask(ctx context.Context, u unasked) (gone bool, err error) {
	names := []string{w.keys.told(u.topic), w.keys.answered(u.topic, u.call), w.keys.answered(u.topic, "")}
	if _, err := w.run(ctx, arriveScript, names, u.entry, answeredFor.Milliseconds()); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pipe := w.client.Pipeline()
	known := pipe.SIsMember(ctx, names[0], u.entry)
	there := isThere(ctx, pipe, w.keys.bucketOf(u.topic), u.entry)
	_, err = pipe.Exec(ctx)
	return known.Val() && !there.Val(), err
}

// isThere asks whether what an entry tells of is there.
func isThere(ctx context.Context, pipe redis.Pipeliner, bucket, entry string) *redis.BoolCmd {
	if t, member, user := cutTold("", entry); member {
		return pipe.HExists(ctx, bucket+"n:"+string(t.Channel), user)
	}
	return pipe.HExists(ctx, bucket+"t", entry)
}

// Departed forgets it, and reports whether receivers have to be told: not if
// it is there, or was forgotten before. After an error it is to be called
// again.
func (w *Told) Departed(ctx context.Context, t proxy.Topic, member bool, userID string) (news bool, err error) {
	if err := w.ledger.Healthy(); err != nil { // Redis may have forgotten it, and not know it again yet
		return false, fmt.Errorf("note a departure from %s: %w", t, err)
	}
	entry := toldEntry(t, member, userID)
	names := w.keys.departed(t)
	call, open := w.call(names[0] + entry)
	if open != "" {
		call = open
	}
	n, err := w.run(ctx, departScript, append(names, w.keys.answered(t, call)), entry, string(t.Channel), flag(member), userID, answeredFor.Milliseconds())
	w.settle(names[0]+entry, call, err == nil)
	if err == nil {
		w.paid(names[0] + entry)
	}
	if err != nil {
		return false, fmt.Errorf("redis: note a departure from %s: %w", t, err)
	}
	return n == 1, nil
}

// paid notes that receivers are told now, or need not be.
func (w *Told) paid(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.owed, id)
}

func (w *Told) run(ctx context.Context, script *redis.Script, names []string, args ...any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return script.Run(ctx, w.client, names, args...).Int()
}

func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

// toldEntry is a channel, or a member of it, as receivers were told of it.
func toldEntry(t proxy.Topic, member bool, userID string) string {
	if !member {
		return string(t.Channel)
	}
	return strconv.Itoa(len(t.Channel)) + " " + string(t.Channel) + userID
}

// cutTold reads what toldEntry has written. No channel name has a space in it.
func cutTold(app, entry string) (t proxy.Topic, member bool, userID string) {
	length, rest, member := strings.Cut(entry, " ")
	if n, err := strconv.Atoi(length); member && err == nil && n >= 0 && n <= len(rest) {
		return proxy.Topic{App: app, Channel: protocol.ChannelName(rest[:n])}, true, rest[n:]
	}
	return proxy.Topic{App: app, Channel: protocol.ChannelName(entry)}, false, ""
}

// tells reports whether anybody is told of a topic's arrivals and departures.
func (l *Ledger) tells(t proxy.Topic) bool {
	return l.settings.Told != nil && l.settings.Told(t.App) && t.Channel[0] != '#'
}

// owe notes that receivers are to be told of what this node has found.
func (l *Ledger) owe(t proxy.Topic, member bool, userID string, departed bool) {
	if l.tells(t) {
		l.receivers.owe(t, member, userID, departed)
	}
}

// remember has Redis know again that receivers were told.
func (l *Ledger) remember(ctx context.Context, pipe redis.Pipeliner, t proxy.Topic, member bool, userID string) {
	entry := toldEntry(t, member, userID)
	if l.tells(t) && !l.receivers.arriving(l.keys.told(t)+entry) {
		pipe.SAdd(ctx, l.keys.told(t), entry)
	}
}

// rememberDepartures does so for those of which receivers are to be told yet.
func (l *Ledger) rememberDepartures(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*timeout)
	defer cancel()
	list := l.receivers.departures()
	if len(list) == 0 {
		return nil
	}
	pipe := l.client.Pipeline()
	for _, o := range list {
		pipe.SAdd(ctx, l.keys.told(o.topic), o.entry)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("redis: departures that are to be told: %w", err)
	}
	return nil
}

// recall notes what receivers were told of that is not there, and is not in
// noted: the node that should have told of its end may have died. Another one
// may note it as well, or hold it back: Departed lets one of them tell.
func (l *Ledger) recall(ctx context.Context, app string, bucket int, noted map[string]bool, note func(proxy.Change)) error {
	if l.settings.Told == nil || !l.settings.Told(app) {
		return nil
	}
	b := l.keys.bucket(app, bucket)
	for cursor := uint64(0); ; {
		entries, next, err := l.client.SScan(ctx, b+"w", cursor, "", reapMost).Result()
		if err != nil {
			return fmt.Errorf("what receivers were told of app %s: %w", app, err)
		}
		pipe := l.client.Pipeline()
		there := make([]*redis.BoolCmd, len(entries))
		for i, entry := range entries {
			there[i] = isThere(ctx, pipe, b, entry)
		}
		if len(entries) > 0 {
			if _, err := pipe.Exec(ctx); err != nil {
				return fmt.Errorf("what is there of app %s: %w", app, err)
			}
		}
		for i, entry := range entries {
			if !there[i].Val() && !noted[entry] {
				note(toldChange(app, entry))
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// toldChange is the end of what an entry tells of.
func toldChange(app, entry string) proxy.Change {
	t, member, user := cutTold(app, entry)
	if !member {
		return proxy.Change{Kind: proxy.ChannelVacated, Topic: t}
	}
	return proxy.Change{Kind: proxy.MemberGone, Topic: t, Member: proxy.Member{UserID: user}}
}

// toldOf is the entry whose end a change is.
func toldOf(c proxy.Change) string {
	return toldEntry(c.Topic, c.Kind == proxy.MemberGone, c.Member.UserID)
}
