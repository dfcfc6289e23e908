package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/offramp/offramp/configs"
	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/admin"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/backend/memory"
	"github.com/offramp/offramp/proxy/backend/redis"
	"github.com/offramp/offramp/proxy/clientconfig"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/front"
	"github.com/offramp/offramp/proxy/httpapi"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/proxy/route"
	"github.com/offramp/offramp/proxy/session"
	"github.com/offramp/offramp/proxy/tap"
	"github.com/offramp/offramp/proxy/transport/httpstream"
	"github.com/offramp/offramp/proxy/transport/websocket"
	"github.com/offramp/offramp/proxy/upstream"
	"github.com/offramp/offramp/proxy/webhooks"
	"github.com/offramp/offramp/shadow"
	"github.com/offramp/offramp/shadow/capture"
	"github.com/offramp/offramp/shadow/inventory"
	"github.com/offramp/offramp/shadow/report"
)

// gateway is every part of a running gateway. newGateway makes them, from the
// vocabulary outwards; run gives them life.
type gateway struct {
	config *configs.Config
	log    zerolog.Logger

	db         *bbolt.DB
	apps       *apps.Registry
	router     *route.Router
	feed       *tap.Feed
	outbox     *webhooks.Outbox
	comparator *shadow.Comparator
	recorder   capture.Recorder
	inventory  *inventory.Inventory
	host       *host.Host
	cluster    *redis.Backend // the other nodes; nil: there are none
	peers      *redis.Peers   // how they talk to each other; nil likewise
	agreement  agreement      // where they are
	leaving    atomic.Bool    // it is not ready, as it is about to end
	sendAway   chan func(context.Context, time.Duration) error
	engine     *engine.Engine
	sessions   *session.Server
	websocket  *websocket.Server
	streams    *httpstream.Server
	doubles    *engine.Engine // where relayed clients have their doubles
	relay      *upstream.Relay
	bridge     *upstream.Feed // what the engine does, for the relay to bring to the upstream
	front      *front.Front
	metrics    *prometheus.Registry
	admin      *admin.Server
}

// gatewayOptions are what differs between a gateway that serves and the ones
// a demo runs inside itself.
type gatewayOptions struct {
	shadow shadow.Config
	log    zerolog.Logger
}

// newGateway makes every part and starts none. The database in the
// configuration's data directory is opened; close releases it.
func newGateway(config *configs.Config, o gatewayOptions) (made *gateway, err error) {
	g := &gateway{config: config, log: o.log}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.apps, err = apps.New(config.Apps); err != nil {
		return nil, err
	}
	if g.db, err = openDatabase(config.Data); err != nil {
		return nil, err
	}
	stages := route.Settings{
		DB: g.db, Apps: g.apps, Gate: reportGate{report: func(ctx context.Context, app string) (*report.Report, error) {
			return g.buildReport(ctx, app, time.Time{})
		}}, Log: o.log,
	}

	// The other nodes, if there are any.
	node, err := randomNode()
	if err != nil {
		return nil, err
	}
	hooks := webhooks.Settings{DB: g.db, Apps: g.apps, Log: o.log}
	between := engine.Settings{
		Node: node, Apps: g.apps.ByID, Broker: memory.NewBroker(), Presence: memory.NewPresence(), Log: o.log,
	}
	var rates proxy.Rates
	if config.Cluster.Redis != nil {
		if g.cluster, err = g.newCluster(node); err != nil {
			return nil, err
		}
		g.newPeers()
		stages.Moved = g.tellMoved
		g.sendAway = make(chan func(context.Context, time.Duration) error, 4)
		between.Broker, between.Presence, between.Occupancy = g.cluster.Broker, g.cluster.Ledger, g.cluster.Ledger
		hooks.Told, rates, stages.Shared = g.cluster.Told, g.cluster.Rates, g.cluster.Moves
	}
	if g.router, err = route.New(stages); err != nil {
		return nil, err
	}

	// Those who watch.
	g.feed = tap.NewFeed(feedQueue)
	if g.outbox, err = webhooks.New(hooks); err != nil {
		return nil, err
	}
	if g.inventory, err = inventory.New(inventory.Settings{DB: g.db, Log: o.log}); err != nil {
		return nil, err
	}
	if err = g.newShadow(o, node); err != nil {
		return nil, err
	}
	g.bridge = upstream.NewFeed(bridgeQueue)
	if err = g.bridge.Keep(filepath.Join(config.Data, copiesDir), leaving(config.Apps), o.log); err != nil {
		return nil, err
	}
	watchers := g.watchers()
	records := tap.New(watchers...)

	// Those who serve.
	between.Tap = records
	g.engine = engine.New(between)
	g.sessions = session.New(session.Settings{Apps: g.apps, Connect: g.connect, Log: o.log})
	g.websocket = websocket.New(websocket.Settings{Sessions: g.sessions, Log: o.log})
	g.streams = httpstream.New(httpstream.Settings{Sessions: g.sessions, Log: o.log})
	api := httpapi.New(httpapi.Settings{
		Apps: g.apps, Engine: g.engine, Tap: records, Rates: rates, PathPrefix: config.PathPrefix, Log: o.log,
	})
	g.doubles = engine.New(engine.Settings{
		Node: node + 1, Apps: g.apps.ByID, Broker: memory.NewBroker(), Presence: memory.NewPresence(), Tap: tap.New(tap.Watcher{
			Name: "doubles", Sink: g.comparator.Doubles(), Kinds: shadow.DoublesKinds,
		}), Log: o.log,
	})
	g.relay = upstream.New(upstream.Settings{
		Apps: g.apps, Route: g.router, WebSocket: g.websocket, API: api, Engine: g.engine, Feed: g.bridge, Shadow: g.doubles, Tap: records,
		Hooks: g.outbox,
		Node:  node + 2, PathPrefix: config.PathPrefix, Log: o.log,
	})
	tlsConfig, err := newTLS(config)
	if err != nil {
		return nil, err
	}
	g.front = front.New(front.Settings{
		Prefix: config.PathPrefix, WebSocket: g.relay, Stream: g.streams, API: g.relay.ServeAPI, TLS: tlsConfig,
		ClientConfig: clientconfig.Handler(g.apps, config.PathPrefix),
		MaxBodyBytes: httpapi.MaxBody(limitsOf(config.Apps)...), Log: o.log,
	})

	g.metrics = prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		records, g.router, g.feed, g.outbox, g.host, g.comparator, g.engine, g.sessions, g.websocket, g.front, g.relay, api,
	} {
		if err = g.metrics.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	if g.cluster != nil {
		for _, c := range []prometheus.Collector{g.cluster, g.newStageMetric()} {
			if err = g.metrics.Register(c); err != nil {
				return nil, fmt.Errorf("register metrics: %w", err)
			}
		}
	}
	g.admin = g.newAdmin()
	if err = g.metrics.Register(g.admin); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return g, nil
}

// bridgeQueue is how many records the bridges to upstreams may lag behind.
const bridgeQueue = 16384

// feedQueue is how many records the debug console may lag behind.
const feedQueue = 1024

// newShadow makes the comparator and the plugin host. What the plugins see
// goes to the comparator and to the console, not to the plugins again.
func (g *gateway) newShadow(o gatewayOptions, node uint64) error {
	journal, err := shadow.NewJournal(g.db)
	if err != nil {
		return err
	}
	g.comparator, err = shadow.New(shadow.Settings{Config: o.shadow, Apps: g.router.ByID, Journal: journal, Copy: &g.recorder, Log: o.log})
	if err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, to start plugins with: %w", err)
	}
	lock, err := readPluginLock(g.config)
	if err != nil {
		return err
	}
	name, err := gatewayName(g.config, g.db)
	if err != nil {
		return err
	}
	g.host, err = host.New(host.Settings{
		Bindings: host.BindingsOf(g.config.Apps), Executable: executable, Builtins: builtinPlugins(), Lock: lock, Gateway: name,
		Apps: g.apps.ByID, Publish: g.publishInbound,
		Members:  func(ctx context.Context, t proxy.Topic) ([]proxy.Member, error) { return g.engine.Members(ctx, t) },
		Channels: g.occupiedChannels, Owners: g.owners(), Node: node,
		Out: tap.New(
			tap.Watcher{Name: "comparator", Sink: g.comparator, Kinds: proxy.AllKinds, Apps: g.appIs(isJudged)},
			tap.Watcher{Name: "recorder", Sink: &g.recorder, Kinds: proxy.AllKinds, Apps: g.appIs(isOnlyCopied)},
			tap.Watcher{Name: "feed", Sink: g.feed, Kinds: proxy.AllKinds},
		),
		Log: o.log,
	})
	return err
}

// watchers lists who is shown the gateway's own records. A part that has
// nothing to do is left out, so that no record is made for it.
func (g *gateway) watchers() []tap.Watcher {
	watchers := []tap.Watcher{
		{Name: "webhooks", Sink: g.outbox, Apps: g.appIs(hasWebhooks), Kinds: proxy.KindsOf(
			proxy.KindOccupied, proxy.KindVacated, proxy.KindMemberAdded, proxy.KindMemberRemoved,
			proxy.KindPublished, proxy.KindCacheMiss, proxy.KindSubscriptionCount)},
		{Name: "feed", Sink: g.feed, Kinds: proxy.AllKinds &^ proxy.KindsOf(proxy.KindDelivered)},
	}
	if anyApp(g.config.Apps, isCompared) {
		watchers = append(watchers,
			tap.Watcher{Name: "plugins", Sink: g.host, Kinds: g.host.Kinds(), Apps: g.appIs(isCompared)},
			tap.Watcher{Name: "comparator", Sink: g.comparator, Kinds: proxy.AllKinds, Apps: g.appIs(isJudged)},
			tap.Watcher{Name: "recorder", Sink: &g.recorder, Kinds: proxy.AllKinds, Apps: g.appIs(isOnlyCopied)},
			tap.Watcher{Name: "inventory", Sink: g.inventory, Kinds: inventory.Kinds(), Apps: g.appIs(isCompared)},
		)
	}
	if anyApp(g.config.Apps, hasUpstream) {
		watchers = append(watchers, tap.Watcher{Name: "bridge", Sink: g.bridge, Kinds: upstream.FeedKinds, Apps: g.appIs(hasUpstream)})
	}
	return watchers
}

func hasUpstream(a *proxy.App) bool { return a.Upstream != nil }

// leaving lists the apps that have an upstream, by id.
func leaving(list []*proxy.App) (ids []string) {
	for _, a := range list {
		if hasUpstream(a) {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

func limitsOf(list []*proxy.App) []proxy.Limits {
	limits := make([]proxy.Limits, len(list))
	for i, a := range list {
		limits[i] = a.Limits
	}
	return limits
}

func hasWebhooks(a *proxy.App) bool { return len(a.Webhooks) > 0 }

func isCompared(a *proxy.App) bool { return len(a.Backends) > 0 || a.Upstream != nil }

// isJudged reports whether something of an app is compared with something: the
// vendor with the engine, or a backend in the shadow with what clients are given.
func isJudged(a *proxy.App) bool {
	return a.Upstream != nil || slices.ContainsFunc(a.Backends, func(b proxy.Backend) bool { return b.Role == proxy.RoleShadow })
}

// isOnlyCopied reports whether an app has backends, and none that is compared:
// its records are for who records them, whom the comparator shows the others.
func isOnlyCopied(a *proxy.App) bool { return isCompared(a) && !isJudged(a) }

func anyApp(list []*proxy.App, is func(*proxy.App) bool) bool {
	for _, a := range list {
		if is(a) {
			return true
		}
	}
	return false
}

// appIs returns a filter for a watcher that follows reloads.
func (g *gateway) appIs(is func(*proxy.App) bool) func(string) bool {
	return func(id string) bool {
		app, ok := g.apps.ByID(id)
		return ok && is(app)
	}
}

// connect gives a new connection to whoever serves its app.
func (g *gateway) connect(app *proxy.App, client proxy.Client, out session.Outlet) (session.Conn, *protocol.Error) {
	if g.relay.Takes(app) {
		return g.relay.Connect(app, client, out)
	}
	conn, refused := g.engine.Connect(app, client, out)
	if refused != nil {
		return nil, refused
	}
	return conn, nil
}

// close releases what newGateway opened.
func (g *gateway) close() {
	if g.cluster != nil {
		if err := g.cluster.Close(); err != nil {
			g.log.Error().Err(err).Msg("close the connection to redis")
		}
	}
	if g.bridge != nil {
		if err := g.bridge.Close(); err != nil {
			g.log.Error().Err(err).Msg("close the files of copies that wait for an upstream")
		}
	}
	if g.db != nil {
		if err := g.db.Close(); err != nil {
			g.log.Error().Err(err).Msg("close the database")
		}
	}
}

// openDatabase opens the embedded database of the outbox, the stage journal
// and the shadow evidence.
func openDatabase(dir string) (*bbolt.DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	path := filepath.Join(dir, databaseFile)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use: another offramp runs with this data directory; stop it, or set another one with `data:`", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

const (
	databaseFile = "offramp.db"
	copiesDir    = "copies" // that wait for an upstream
)

// readPluginLock reads plugins.lock beside the configuration file. Without
// one, plugins are not pinned.
func readPluginLock(config *configs.Config) (*host.Lock, error) {
	if config.File == "" {
		return nil, nil
	}
	path := filepath.Join(filepath.Dir(config.File), "plugins.lock")
	lock, err := host.ReadLock(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return lock, err
}

func randomNode() (uint64, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return 0, fmt.Errorf("draw a node id: %w", err)
	}
	return binary.BigEndian.Uint64(raw[:]), nil
}

// reload puts a new configuration into force, as far as that is possible
// without a restart.
func (g *gateway) reload(r configs.Reload) {
	if r.Err != nil {
		g.log.Error().Err(r.Err).Msg("configuration not reloaded; the running one stays in force")
		return
	}
	if err := g.apps.Swap(r.Config.Apps); err != nil {
		g.log.Error().Err(err).Msg("configuration not reloaded; the running one stays in force")
		return
	}
	if err := g.host.Rebind(context.Background(), r.Config.Apps); err != nil {
		g.log.Warn().Err(err).Msg("backends given other channels")
	}
	for _, c := range r.Changes {
		g.log.Info().Str("path", c.Path).Str("what", c.What).Bool("needs_restart", c.Restart).Msg("configuration changed")
	}
	g.log.Info().Int("changes", len(r.Changes)).Msg("configuration reloaded")
	g.renewPlugins()
}

// ready says why the gateway cannot serve; empty when it can.
func (g *gateway) ready(context.Context) []string {
	var why []string
	if !g.front.Serving() {
		why = append(why, "not listening yet")
	}
	if g.leaving.Load() {
		why = append(why, "draining")
	}
	if g.cluster != nil {
		if err := g.cluster.Healthy(); err != nil {
			why = append(why, err.Error())
		}
	}
	if err := g.router.Behind(); errors.Is(err, route.ErrUnread) {
		why = append(why, err.Error())
	}
	return why
}
