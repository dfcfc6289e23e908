package upstream

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	// censusEvery is how often the vendor is asked who is there, to make up
	// for webhooks that were lost; each answer counts as a message.
	censusEvery = 5 * time.Minute
	// lookTwice is the pause between two looks at who is there: longer than the
	// vendor itself waits before it tells that somebody has left.
	lookTwice = 5 * time.Second
	// exitAfter is how long after the exit nobody is at the vendor any more:
	// time to take it back.
	exitAfter = 10 * time.Second
	// maxRolls bounds the presence channels whose members one census asks for.
	maxRolls = 200
)

// ears knows which apps' webhooks the vendor sends to the gateway.
type ears struct {
	mu    sync.Mutex
	heard map[string]time.Time // by app, when the latest came
	gone  map[string]time.Time // when an app's bridge was closed
	first chan string          // apps that were heard of for the first time
}

func newEars() ears {
	return ears{heard: make(map[string]time.Time), gone: make(map[string]time.Time), first: make(chan string, maxHooks)}
}

// parted notes that an app's bridge is closed.
func (r *Relay) parted(app string) {
	r.ears.mu.Lock()
	defer r.ears.mu.Unlock()
	r.ears.gone[app] = time.Now()
}

// parting reports whether an app has a bridge, or had one a moment ago: its
// clients are on their way back, and its ghosts are only leaving.
func (r *Relay) parting(app string, now time.Time) bool {
	if _, bridged := r.bridges.Load(app); bridged {
		return true
	}
	r.ears.mu.Lock()
	defer r.ears.mu.Unlock()
	at, was := r.ears.gone[app]
	return was && now.Sub(at) < exitAfter
}

// hear notes a webhook of an app. The first since the start has the vendor
// asked who is there.
func (r *Relay) hear(app string) {
	r.ears.mu.Lock()
	_, before := r.ears.heard[app]
	r.ears.heard[app] = time.Now()
	r.ears.mu.Unlock()
	if !before {
		select {
		case r.ears.first <- app:
		default: // many apps at once: the next round is theirs
		}
	}
}

// HookHeard returns when the vendor's latest webhook for an app came to this
// gateway; zero: none has since it started.
func (r *Relay) HookHeard(app string) time.Time {
	r.ears.mu.Lock()
	defer r.ears.mu.Unlock()
	return r.ears.heard[app]
}

// census keeps track of who is at the vendor, of the apps whose webhooks come
// here. It belongs to one goroutine.
type census struct {
	relay   *Relay
	bridged map[string]bool        // as each app was looked at last
	due     map[string]time.Time   // when an app's turn is
	first   map[string]*attendance // of two looks, the first
}

// attendance is who was at the vendor.
type attendance struct {
	asked    time.Time
	occupied map[protocol.ChannelName]bool
	members  map[protocol.ChannelName][]string
}

// census asks the vendor who is there: when it turns out that an app's
// webhooks come here, when they begin to be merged, and now and then. Of an
// app that has left the vendor nobody is there any more.
func (r *Relay) census(ctx context.Context) {
	if r.settings.Hooks == nil {
		return
	}
	c := &census{relay: r, bridged: make(map[string]bool), due: make(map[string]time.Time), first: make(map[string]*attendance)}
	again := time.NewTicker(censusEvery)
	defer again.Stop()
	for {
		changed := r.settings.Route.Changed()
		c.look(time.Now())
		for id, at := range c.due {
			if !time.Now().Before(at) {
				c.turn(ctx, id)
			}
		}
		select {
		case id := <-r.ears.first:
			c.due[id] = time.Now()
		case <-again.C:
			clear(c.bridged)
		case <-changed:
		case <-c.next():
		case <-ctx.Done():
			return
		}
	}
}

// look finds apps that have to be counted since they are bridged, or are not
// any more.
func (c *census) look(now time.Time) {
	for _, app := range c.relay.settings.Apps.All() {
		if app.Upstream == nil || c.relay.HookHeard(app.ID).IsZero() {
			continue
		}
		bridged := c.relay.bridged(app)
		was, known := c.bridged[app.ID]
		if known && was == bridged || !known && !bridged {
			continue
		}
		c.bridged[app.ID] = bridged
		delete(c.first, app.ID)
		c.due[app.ID] = now
		if !bridged {
			c.due[app.ID] = now.Add(exitAfter)
		}
	}
}

// next returns what fires when the next app's turn is.
func (c *census) next() <-chan time.Time {
	var first time.Time
	for _, at := range c.due {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// turn looks at who is there for the first or the second time. Who moves from
// side to side at the moment of one is seen at the other.
func (c *census) turn(ctx context.Context, id string) {
	delete(c.due, id)
	app, ok := c.relay.settings.Apps.ByID(id)
	if !ok || app.Upstream == nil {
		return
	}
	if !c.relay.bridged(app) && !c.relay.takes(app) {
		c.adopt(ctx, app, &attendance{asked: time.Now()})
		return
	}
	there, err := c.count(ctx, app)
	if err != nil {
		delete(c.first, id)
		c.relay.settings.Log.Warn().Err(err).Str("app", id).Msg("the upstream does not say who is there: webhooks that were lost are not made up for")
		return
	}
	first := c.first[id]
	if first == nil {
		c.first[id], c.due[id] = there, time.Now().Add(lookTwice)
		return
	}
	delete(c.first, id)
	first.add(there)
	c.adopt(ctx, app, first)
}

// add adds who was there at a later look.
func (a *attendance) add(later *attendance) {
	maps.Copy(a.occupied, later.occupied)
	for channel, users := range later.members {
		a.members[channel] = append(a.members[channel], users...)
	}
}

// count asks the vendor who is on an app's channels.
func (c *census) count(ctx context.Context, app *proxy.App) (*attendance, error) {
	there := &attendance{asked: time.Now(), occupied: make(map[protocol.ChannelName]bool), members: make(map[protocol.ChannelName][]string)}
	list, err := c.relay.askVendor(ctx, app, "/apps/"+app.ID+"/channels")
	if err != nil {
		return nil, err
	}
	for name := range channelsOf(list) {
		channel := protocol.ChannelName(name)
		there.occupied[channel] = true
		if channel.Kind() != protocol.Presence || len(there.members) == maxRolls || !channel.Valid(app.Limits.ChannelNameLength) {
			continue
		}
		roll, err := c.relay.askVendor(ctx, app, "/apps/"+app.ID+"/channels/"+name+"/users")
		if err != nil {
			continue // its members stay as they are known
		}
		there.members[channel] = []string{}
		for _, user := range gjson.GetBytes(roll, "users.#.id").Array() {
			there.members[channel] = append(there.members[channel], user.String())
		}
	}
	return there, nil
}

func (c *census) adopt(ctx context.Context, app *proxy.App, there *attendance) {
	occupied := slices.Sorted(maps.Keys(there.occupied))
	if err := c.relay.settings.Hooks.Adopt(ctx, app.ID, there.asked, occupied, there.members); err != nil && ctx.Err() == nil {
		c.relay.settings.Log.Warn().Err(err).Str("app", app.ID).Msg("who is at the upstream could not be noted")
	}
}

// askVendor makes a query of the gateway's own and returns the answer.
func (r *Relay) askVendor(ctx context.Context, app *proxy.App, path string) ([]byte, error) {
	p, err := r.callVendor(ctx, app, http.MethodGet, path, nil)
	if err == nil && p.status != http.StatusOK {
		err = refusedError{p.status}
	}
	if err == nil && !protocol.ValidJSON(p.body) {
		err = errNotJSON
	}
	return p.body, err
}
