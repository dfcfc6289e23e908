package upstream

import (
	"context"
	"net/http"
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
	// maxRolls bounds the presence channels whose members one census asks for.
	maxRolls = 200
)

// ears knows which apps' webhooks the vendor sends to the gateway.
type ears struct {
	mu    sync.Mutex
	heard map[string]time.Time // by app, when the latest came
	first chan string          // apps that were heard of for the first time
}

func newEars() ears {
	return ears{heard: make(map[string]time.Time), first: make(chan string, maxHooks)}
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

// census asks the vendor who is there, of the apps whose webhooks come here:
// when that turns out, when they begin to be merged, and now and then. Of an
// app that has left the vendor nobody is there any more.
func (r *Relay) census(ctx context.Context) {
	if r.settings.Hooks == nil {
		return
	}
	again := time.NewTicker(censusEvery)
	defer again.Stop()
	last := make(map[string]bool) // whether it was bridged
	for recount := false; ; {
		changed := r.changed()
		for _, app := range r.settings.Apps.All() {
			bridged := r.bridged(app)
			switch was, known := last[app.ID]; {
			case r.HookHeard(app.ID).IsZero():
			case bridged && (!was || recount):
				r.count(ctx, app)
			case known && was && !bridged && !r.takes(app):
				r.adopt(ctx, app, time.Now(), nil, nil)
			}
			last[app.ID] = bridged
		}
		recount = false
		select {
		case id := <-r.ears.first:
			if app, ok := r.settings.Apps.ByID(id); ok && (r.bridged(app) || r.takes(app)) {
				r.count(ctx, app)
			}
		case <-again.C:
			recount = true
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// count asks the vendor who is on an app's channels.
func (r *Relay) count(ctx context.Context, app *proxy.App) {
	asked := time.Now()
	list, err := r.askVendor(ctx, app, "/apps/"+app.ID+"/channels")
	if err != nil {
		r.settings.Log.Warn().Err(err).Str("app", app.ID).Msg("the upstream does not say who is there: webhooks that were lost are not made up for")
		return
	}
	var occupied []protocol.ChannelName
	members := make(map[protocol.ChannelName][]string)
	for name := range channelsOf(list) {
		channel := protocol.ChannelName(name)
		occupied = append(occupied, channel)
		if channel.Kind() != protocol.Presence || len(members) == maxRolls || !channel.Valid(app.Limits.ChannelNameLength) {
			continue
		}
		roll, err := r.askVendor(ctx, app, "/apps/"+app.ID+"/channels/"+name+"/users")
		if err != nil {
			continue // its members stay as they are known
		}
		members[channel] = []string{}
		for _, user := range gjson.GetBytes(roll, "users.#.id").Array() {
			members[channel] = append(members[channel], user.String())
		}
	}
	r.adopt(ctx, app, asked, occupied, members)
}

func (r *Relay) adopt(ctx context.Context, app *proxy.App, asked time.Time, occupied []protocol.ChannelName, members map[protocol.ChannelName][]string) {
	if err := r.settings.Hooks.Adopt(ctx, app.ID, asked, occupied, members); err != nil && ctx.Err() == nil {
		r.settings.Log.Warn().Err(err).Str("app", app.ID).Msg("who is at the upstream could not be noted")
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
