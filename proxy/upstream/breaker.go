package upstream

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// The third layer of the guard against loops. The first is structural: what
// came from the vendor is not sent there. The second knows echoes (echoes.go).
// Neither sees a loop that passes through something else, such as a second
// gateway that has this one for its upstream. The breaker stops the bridge
// when one is found: of the whole app, because a call has been here before
// (via.go), or, where what closes the loop leaves no mark, of a channel
// (circles.go).
const maxBroken = 16 // channels that are told apart; one more stands for all

// everything stands for all channels.
const everything = "*"

// direction is the way over a bridge.
type direction string

const (
	up   direction = "up"   // to the vendor
	down direction = "down" // from the vendor
)

// Broken is a channel that is not bridged, as its events went in a circle.
type Broken struct {
	Channels string    `json:"channels"` // a name; * for all
	Since    time.Time `json:"since"`
	Why      string    `json:"why"`
	Kept     uint64    `json:"kept"` // events that were not brought over since
}

// breaker is not safe for concurrent use.
type breaker struct{ broken []Broken }

// find returns what stops a channel, or nil.
func (k *breaker) find(channel protocol.ChannelName) *Broken {
	for i := range k.broken {
		if proxy.MatchPattern(k.broken[i].Channels, string(channel)) {
			return &k.broken[i]
		}
	}
	return nil
}

// trip stops a channel. It returns what it stopped, which may be more; ok is
// false when it was stopped before.
func (k *breaker) trip(channel protocol.ChannelName, why string, now time.Time) (stopped string, ok bool) {
	if k.find(channel) != nil {
		return "", false
	}
	stopped = string(channel)
	if len(k.broken) == maxBroken {
		channel, stopped = everything, everything
	}
	if channel == everything {
		k.broken = k.broken[:0]
	}
	k.broken = append(k.broken, Broken{Channels: stopped, Since: now, Why: why})
	return stopped, true
}

// rearm lets events of the channels that match pass again, and returns what it
// has freed; "" and "*" are for all.
func (k *breaker) rearm(pattern string) (freed []string) {
	k.broken = slices.DeleteFunc(k.broken, func(b Broken) bool {
		free := pattern == "" || pattern == everything || proxy.MatchPattern(pattern, b.Channels)
		if free {
			freed = append(freed, b.Channels)
		}
		return free
	})
	return freed
}

// guard is an app's breaker, for several goroutines.
type guard struct {
	mu sync.Mutex
	breaker
}

func (r *Relay) guard(app string) *guard {
	if g, ok := r.guards.Load(app); ok {
		return g.(*guard)
	}
	g, _ := r.guards.LoadOrStore(app, new(guard))
	return g.(*guard)
}

// barred reports whether a channel is stopped, and counts an event that is not
// brought over for that.
func (g *guard) barred(channel protocol.ChannelName) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.find(channel)
	if b == nil {
		return false
	}
	b.Kept++
	return true
}

// barred reports whether nothing of a channel is brought to the other side.
func (b *bridge) barred(channel protocol.ChannelName) bool {
	if !b.relay.guard(b.id).barred(channel) {
		return false
	}
	b.relay.metrics.loops.WithLabelValues(b.id).Inc()
	return true
}

// trip stops the bridge of a channel, says so, and leaves a note in the
// journal.
func (r *Relay) trip(app string, channel protocol.ChannelName, why string) {
	g := r.guard(app)
	g.mu.Lock()
	stopped, ok := g.trip(channel, why, time.Now())
	g.mu.Unlock()
	if !ok {
		return
	}
	r.settings.Log.Error().Str("app", app).Str("channels", stopped).Str("why", why).
		Msg("loop: nothing is brought to the upstream and from there any more until the bridge is armed again")
	r.note(app, stopped, "loop breaker", "stopped the bridge: "+why)
	r.look()
}

// circle stops the bridge of an app whose upstream leads back here.
func (r *Relay) circle(app, why string) { r.trip(app, everything, why) }

// stopped reports whether an app's whole bridge is.
func (r *Relay) stopped(app string) bool {
	g := r.guard(app)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.find(everything) != nil
}

// note leaves a note in the journal.
func (r *Relay) note(app, channels, who, what string) {
	if err := r.settings.Route.Note(app, channels, who, what); err != nil {
		r.settings.Log.Error().Err(err).Str("app", app).Str("what", what).Msg("not journalled")
	}
}

// Broken returns the channels of an app that the loop breaker has stopped.
func (r *Relay) Broken(app string) []Broken {
	g := r.guard(app)
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.broken)
}

// Rearm opens the bridge again for the channels that match a pattern, or for
// all for "", and returns what it has freed. A loop that is still there is
// found again.
func (r *Relay) Rearm(app, pattern, who, why string) (freed []string) {
	g := r.guard(app)
	g.mu.Lock()
	freed = g.rearm(pattern)
	g.mu.Unlock()
	if len(freed) == 0 {
		return nil
	}
	what := "armed the bridge again for " + strings.Join(freed, ", ")
	if why != "" {
		what += ": " + why
	}
	r.settings.Log.Info().Str("app", app).Strs("channels", freed).Str("who", who).Msg("bridge armed again after a loop")
	r.note(app, pattern, who, what)
	r.look()
	return freed
}
