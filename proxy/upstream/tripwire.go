package upstream

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// For a while after an app has been moved to exited, a tripwire watches the
// vendor for those who were forgotten: nothing is published there any more, so
// an occupied channel is somebody's who still connects there, and an event
// somebody's who still publishes there.
const (
	// lookAtVendor is how often the vendor is asked. For half of that time its
	// occupied channels are listened to: while they are, they are occupied by
	// the tripwire itself.
	lookAtVendor    = time.Minute
	maxTripChannels = 100
	maxSightings    = 1000
)

// What a tripwire sees.
const (
	sawSubscribers = "subscribers"  // of a channel
	sawMember      = "member"       // of a presence channel
	sawEvent       = "event"        // published by a server
	sawClientEvent = "client event" // said by a client
)

// Sighting is somebody or something that was still seen at the vendor. What a
// client is made with the vendor does not tell.
type Sighting struct {
	What    string               `json:"what"` // subscribers, member, event, client event
	Channel protocol.ChannelName `json:"channel"`
	Name    string               `json:"name,omitempty"`  // the user's id, or the event's name
	Count   int                  `json:"count,omitempty"` // subscribers now, where the vendor counts them; events so far
	First   time.Time            `json:"first"`
	Last    time.Time            `json:"last"`
}

// Tripwire is what is known of an app's stragglers.
type Tripwire struct {
	Until  time.Time  `json:"until"`  // when it ends
	Looked time.Time  `json:"looked"` // last; zero: not yet
	Error  string     `json:"error,omitempty"`
	Seen   []Sighting `json:"seen"` // latest first
}

// tripwire is one app's. Its tap is there only while it listens.
type tripwire struct {
	stop context.CancelFunc

	mu   sync.Mutex
	news Tripwire
	seen map[[3]string]*Sighting
}

// saw notes a sighting, one more unless count says how many there are.
func (w *tripwire) saw(what string, channel protocol.ChannelName, name string, count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key, now := [3]string{what, string(channel), name}, time.Now()
	s := w.seen[key]
	if s == nil {
		if len(w.seen) == maxSightings {
			return
		}
		s = &Sighting{What: what, Channel: channel, Name: name, First: now}
		w.seen[key] = s
	}
	s.Last = now
	switch {
	case count > 0:
		s.Count = count
	case what == sawEvent || what == sawClientEvent:
		s.Count++
	}
}

// Tripwire returns what an app's tripwire has seen; ok is false when it has
// none now.
func (r *Relay) Tripwire(app string) (t Tripwire, ok bool) {
	found, ok := r.trips.Load(app)
	if !ok {
		return Tripwire{}, false
	}
	w := found.(*tripwire)
	w.mu.Lock()
	defer w.mu.Unlock()
	t = w.news
	t.Seen = make([]Sighting, 0, len(w.seen))
	for _, s := range w.seen {
		t.Seen = append(t.Seen, *s)
	}
	slices.SortFunc(t.Seen, func(a, b Sighting) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(string(a.Channel), string(b.Channel)), strings.Compare(a.What+a.Name, b.What+b.Name))
	})
	return t, true
}

// tripwires keeps a tripwire for every app that has just left the vendor.
func (r *Relay) tripwires(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	every := cmp.Or(r.settings.LookAtVendor, lookAtVendor)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		changed := r.changed()
		for _, app := range r.settings.Apps.All() {
			until, due := r.tripsUntil(app)
			found, there := r.trips.Load(app.ID)
			switch {
			case due && !there:
				watching, stop := context.WithDeadline(ctx, until)
				w := &tripwire{stop: stop, news: Tripwire{Until: until}, seen: make(map[[3]string]*Sighting)}
				r.trips.Store(app.ID, w)
				running.Go(func() { r.watchOut(watching, app.ID, w, every) })
			case !due && there:
				found.(*tripwire).stop()
			}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tripsUntil returns when an app's tripwire ends; due is false when it is to
// have none. Only an app that was moved away has one: one that is configured
// as exited never contacts the vendor.
func (r *Relay) tripsUntil(app *proxy.App) (until time.Time, due bool) {
	if !app.Enabled || app.Upstream == nil || app.Upstream.Tripwire == 0 || !r.settings.Route.Position(app).Gone() {
		return time.Time{}, false
	}
	left, moved, err := r.settings.Route.Left(app.ID)
	if err != nil {
		r.settings.Log.Error().Err(err).Str("app", app.ID).Msg("not known when the app left the upstream: no tripwire")
		return time.Time{}, false
	}
	until = left.Add(app.Upstream.Tripwire)
	return until, moved && time.Now().Before(until)
}

// watchOut looks at the vendor until the tripwire ends.
func (r *Relay) watchOut(ctx context.Context, id string, w *tripwire, every time.Duration) {
	defer w.stop()
	r.note(id, "", "tripwire", "watches the upstream for clients and publishers until "+w.news.Until.UTC().Format(time.RFC3339))
	for ctx.Err() == nil {
		if app, ok := r.settings.Apps.ByID(id); ok && app.Upstream != nil {
			channels := r.lookAt(ctx, app, w)
			r.listen(ctx, app.ID, w, channels, every/2)
		}
		select {
		case <-time.After(every / 2):
		case <-ctx.Done():
		}
	}
	if !time.Now().Before(w.news.Until) {
		t, _ := r.Tripwire(id)
		r.note(id, "", "tripwire", fmt.Sprintf("ended, %d clients and publishers seen at the upstream since the exit", len(t.Seen)))
	}
	r.trips.Delete(id)
}

// lookAt asks the vendor who is there, and returns the channels that can be
// listened to. To listen on a presence channel would be to join it.
func (r *Relay) lookAt(ctx context.Context, app *proxy.App, w *tripwire) (channels []protocol.ChannelName) {
	list, err := r.askVendor(ctx, app, "/apps/"+app.ID+"/channels")
	w.mu.Lock()
	w.news.Looked, w.news.Error = time.Now(), ""
	if err != nil {
		w.news.Error = err.Error()
	}
	w.mu.Unlock()
	for name := range channelsOf(list) {
		channel := protocol.ChannelName(name)
		w.saw(sawSubscribers, channel, "", 0)
		switch k := channel.Kind(); {
		case k == protocol.ServerToUser || !channel.Valid(app.Limits.ChannelNameLength):
		case k == protocol.Presence:
			r.lookAtMembers(ctx, app, w, channel)
		case len(channels) < maxTripChannels:
			channels = append(channels, channel)
		}
	}
	r.metrics.stragglers.WithLabelValues(app.ID).Set(float64(len(channelsOf(list))))
	return channels
}

func (r *Relay) lookAtMembers(ctx context.Context, app *proxy.App, w *tripwire, channel protocol.ChannelName) {
	roll, err := r.askVendor(ctx, app, "/apps/"+app.ID+"/channels/"+url.PathEscape(string(channel))+"/users")
	if err != nil {
		return // the channel itself was seen
	}
	for _, user := range gjson.GetBytes(roll, "users.#.id").Array() {
		w.saw(sawMember, channel, user.String(), 0)
	}
}

// listen hears what is published on channels of the vendor, for a while.
func (r *Relay) listen(ctx context.Context, app string, w *tripwire, channels []protocol.ChannelName, long time.Duration) {
	if len(channels) == 0 {
		return
	}
	listening, stop := context.WithTimeout(ctx, long)
	defer stop()
	t := newTap(r, app, func(_ context.Context, f serverFrame) {
		switch {
		case f.event == "pusher_internal:subscription_count":
			if n := int(gjson.GetBytes(f.content(), "subscription_count").Int()); n > 1 {
				w.saw(sawSubscribers, f.channel, "", n-1) // without the tripwire
			}
		case f.internal() || f.kept:
		case strings.HasPrefix(f.event, protocol.ClientEventPrefix):
			w.saw(sawClientEvent, f.channel, f.event, 0)
		default:
			w.saw(sawEvent, f.channel, f.event, 0)
		}
	})
	for _, channel := range channels {
		t.want(channel, nil)
	}
	t.run(listening)
}
