package upstream

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/route"
)

// Kinds of trouble with an upstream.
const (
	troubleDown        = "down"
	troubleSlow        = "slow"
	troubleQuota       = "over quota"
	troubleConnections = "connection limit"
	troubleCredentials = "credentials"
	troubleCertificate = "certificate"
	troubleLoop        = "loop"

	gaveUp = "gave up" // we did: it says nothing of the upstream
)

const (
	// slowAfter is how long a call may take before it is trouble.
	slowAfter = 2 * time.Second
	// troubleFor is how long trouble is shown after it was last met.
	troubleFor = time.Minute
	// downAfter and downTimes are how long and how often in a row an upstream
	// has failed when it is taken for down.
	downAfter = 2 * time.Second
	downTimes = 3
	// probeEvery is how often a failing upstream is tried.
	probeEvery = time.Second
)

// Trouble is something that is wrong with an app's upstream.
type Trouble struct {
	Kind  string    `json:"kind"`  // down, slow, over quota, connection limit, credentials, certificate, loop
	Text  string    `json:"text"`  // what was met last
	Since time.Time `json:"since"` // met first
	Last  time.Time `json:"last"`
	Count int       `json:"count"` // times that it was met since
}

// health is how an app's upstream is doing, as seen on the way to it.
type health struct {
	mu       sync.Mutex
	troubles map[string]*Trouble // by kind
	lapses   [ways]lapse
}

// way is one of the two on which an upstream is reached.
type way int

const (
	byConnection way = iota
	byCall
	ways
)

// lapse is how a way has failed.
type lapse struct {
	times int // in a row
	since time.Time
	down  bool
}

func (h *health) isDown() bool { return h.lapses[byConnection].down || h.lapses[byCall].down }

// meet notes trouble; kind "" is none, and success. It reports whether the
// upstream has gone down, or come up, by that.
func (h *health) meet(by way, kind, text string, now time.Time) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.isDown()
	switch l := &h.lapses[by]; kind {
	case troubleDown:
		if l.times++; l.times == 1 {
			l.since = now
		}
		l.down = l.down || l.times >= downTimes && now.Sub(l.since) >= downAfter
	case troubleSlow:
	default: // it has answered, whatever
		*l = lapse{}
		if h.lapses == [ways]lapse{} {
			delete(h.troubles, troubleDown)
		}
	}
	if kind != "" {
		t := h.troubles[kind]
		if t == nil || now.Sub(t.Last) > troubleFor {
			t = &Trouble{Kind: kind, Since: now}
			if h.troubles == nil {
				h.troubles = make(map[string]*Trouble)
			}
			h.troubles[kind] = t
		}
		t.Text, t.Last = text, now
		t.Count++
	}
	return h.isDown() != before
}

func (r *Relay) health(app string) *health {
	if h, ok := r.healths.Load(app); ok {
		return h.(*health)
	}
	h, _ := r.healths.LoadOrStore(app, new(health))
	return h.(*health)
}

// meet notes how the upstream did.
func (r *Relay) meet(app string, by way, kind, text string) {
	if kind == gaveUp {
		return
	}
	if kind != "" {
		r.metrics.trouble.WithLabelValues(app, kind).Inc()
	}
	h := r.health(app)
	changed := h.meet(by, kind, text, time.Now())
	down := kind == troubleDown
	if down {
		r.fail(app)
	}
	if !changed {
		return
	}
	configured, ok := r.settings.Apps.ByID(app)
	open := ok && configured.Upstream != nil && configured.Upstream.WhenDown == proxy.WhenDownServe
	r.settings.Log.Warn().Str("app", app).Bool("down", down).Bool("served_here", down && open).Str("text", text).Msg("upstream changed its state")
	if !open {
		return
	}
	what := "the upstream answers again: clients and events are its own again"
	if down {
		what = "the upstream is down: the engine serves its clients and events meanwhile (upstream.when_down): " + text
	}
	r.note(app, "", "fail-open", what)
	r.flip()
	r.look()
}

// connected notes how a connection to the upstream went.
func (r *Relay) connected(app string, err error) {
	r.metrics.dials.WithLabelValues(app, trouble(err)).Inc()
	kind, text := kindOf(err)
	r.meet(app, byConnection, kind, text)
}

// closedWith notes how the upstream ended a connection.
func (r *Relay) closedWith(app string, code int, text string) {
	if kind := kindOfCode(code); kind != "" {
		r.meet(app, byConnection, kind, strings.TrimSpace(strconv.Itoa(code)+" "+text))
	}
}

// called notes how a call of the upstream went.
func (r *Relay) called(app string, p reply, err error, took time.Duration) {
	r.metrics.calls.WithLabelValues(app, p.result(err)).Inc()
	kind, text := kindOf(err)
	if err == nil {
		kind, text = kindOfStatus(p.status, p.body)
	}
	r.meet(app, byCall, kind, text)
	if kind == "" && took > slowAfter {
		r.meet(app, byCall, troubleSlow, "a call took "+took.Round(time.Millisecond).String())
	}
}

// kindOf says what an error means for the upstream.
func kindOf(err error) (kind, text string) {
	var refused refusedError
	var closed *websocket.CloseError
	switch {
	case err == nil:
		return "", ""
	case errors.Is(err, context.Canceled):
		return gaveUp, ""
	case errors.As(err, new(loopError)):
		return troubleLoop, err.Error()
	case errors.As(err, &refused):
		return kindOfStatus(refused.status, nil)
	case errors.As(err, &closed) && closed.Code >= 4000 && closed.Code < 4100:
		return kindOfCode(closed.Code), err.Error()
	case trouble(err) == "tls":
		return troubleCertificate, err.Error()
	case errors.Is(err, errLongReply), errors.Is(err, errNotJSON):
		return "", ""
	default:
		return troubleDown, err.Error()
	}
}

// kindOfStatus says what an answer means for the upstream: most refusals are
// the caller's own affair.
func kindOfStatus(status int, body []byte) (kind, text string) {
	text = strings.TrimSpace("HTTP status " + strconv.Itoa(status) + " " + string(body[:min(len(body), 200)]))
	switch {
	case status == http.StatusForbidden && bytes.Contains(bytes.ToLower(body), []byte("quota")), status == http.StatusTooManyRequests:
		return troubleQuota, text
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return troubleCredentials, text
	case status == http.StatusLoopDetected:
		return troubleLoop, text
	case status >= 500:
		return troubleDown, text
	}
	return "", ""
}

// kindOfCode says what a close code means for the upstream (vendor
// documentation: WebSocket protocol, "Error codes").
func kindOfCode(code int) string {
	switch code {
	case 4001, 4003: // no such app, app disabled
		return troubleCredentials
	case 4004:
		return troubleConnections
	}
	return ""
}

// Trouble returns what is wrong with an app's upstream now, the latest first.
func (r *Relay) Trouble(app string) []Trouble {
	h := r.health(app)
	h.mu.Lock()
	defer h.mu.Unlock()
	var now []Trouble
	for _, t := range h.troubles {
		if time.Since(t.Last) <= troubleFor {
			now = append(now, *t)
		}
	}
	slices.SortFunc(now, func(a, b Trouble) int { return b.Last.Compare(a.Last) })
	return now
}

// failing reports whether an upstream has failed last.
func (r *Relay) failing(app string) bool {
	h := r.health(app)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lapses != [ways]lapse{}
}

// FailedOpen reports whether the engine serves an app in the place of an
// upstream that is down.
func (r *Relay) FailedOpen(app *proxy.App) bool {
	if app.Upstream == nil || app.Upstream.WhenDown != proxy.WhenDownServe {
		return false
	}
	h := r.health(app.ID)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.isDown()
}

// position returns where an app's traffic belongs now: while the engine stands
// in for an upstream that is down, all of it here, as at cutover.
func (r *Relay) position(app *proxy.App) *route.Position {
	if p := r.settings.Route.Position(app); !p.Gone() && r.FailedOpen(app) {
		return &route.Position{App: app.ID, Stage: proxy.StageCutover}
	}
	return r.settings.Route.Position(app)
}

// changed returns a channel that is closed when positions may have changed.
func (r *Relay) changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.turned
}

// flip tells those who wait for a change.
func (r *Relay) flip() {
	r.settings.Feed.turn()
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.turned)
	r.turned = make(chan struct{})
}

// turn passes on that the route has changed.
func (r *Relay) turn(ctx context.Context) {
	for changed := r.settings.Route.Changed(); ; {
		select {
		case <-changed:
			changed = r.settings.Route.Changed()
			r.flip()
		case <-ctx.Done():
			return
		}
	}
}

// fail has an upstream that has failed tried.
func (r *Relay) fail(app string) {
	select {
	case r.failures <- app:
	default: // others are being tried; this one fails again if it matters
	}
}

// probe tries upstreams that have failed until they answer, so that it is
// known how they are also while nothing is sent to them.
func (r *Relay) probe(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	failing := make(map[string]bool)
	for {
		select {
		case app := <-r.failures:
			failing[app] = true
		case <-tick.C:
			for id := range failing {
				app, ok := r.settings.Apps.ByID(id)
				if !ok || app.Upstream == nil || !r.failing(id) || r.settings.Route.Position(app).Gone() {
					delete(failing, id)
					continue
				}
				r.try(ctx, app)
			}
		case <-ctx.Done():
			return
		}
	}
}

// try sees whether an upstream answers, which is noted on the way.
func (r *Relay) try(ctx context.Context, app *proxy.App) {
	_, _ = r.callVendor(ctx, app, http.MethodGet, "/apps/"+app.ID+exploring, nil)
	v, err := r.dialVendor(ctx, app, &proxy.Client{Key: app.Credentials[0].Key, Library: library, Protocol: 7})
	if err == nil {
		v.leave()
	}
}
