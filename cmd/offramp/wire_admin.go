package main

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/admin"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/tap"
	"github.com/offramp/offramp/proxy/webhooks"
	"github.com/offramp/offramp/shadow/report"
)

// newAdmin makes the admin listener's server: admin knows none of the parts
// it shows, so each is handed to it behind an adapter.
func (g *gateway) newAdmin() *admin.Server {
	return admin.New(admin.Settings{
		Token:    g.config.Admin.Token,
		Version:  version,
		Ready:    g.ready,
		Warnings: g.warnings,
		Apps:     g.apps,
		Traffic:  traffic{g.engine},
		Backends: func() any { return g.host.Status() }, Occupancy: g.occupancy,
		Stages:   stages{g.router, g.relay},
		Webhooks: outbox{g.outbox},
		Feed:     liveFeed{g.feed},
		Report:   g.report,
		Evidence: g.evidence,
		Capture:  g.capture,
		Inventory: func(_ context.Context, app string, _ time.Time) (json.RawMessage, error) {
			return json.Marshal(g.inventory.Document(app))
		},
		Metrics: g.metrics,
		Log:     g.log,
	})
}

// report makes an app's comparison report, as the report command writes it.
func (g *gateway) report(ctx context.Context, app string, since time.Time) (json.RawMessage, error) {
	r, err := g.buildReport(ctx, app, since)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = report.WriteJSON(&text, r)
	return text.Bytes(), err
}

// traffic shows an engine's state.
type traffic struct{ engine *engine.Engine }

func (t traffic) Stats(app string) admin.Stats { return admin.Stats(t.engine.Stats(app)) }

func (t traffic) Connections(app string) []admin.Connection {
	states := t.engine.Connections(app)
	list := make([]admin.Connection, len(states))
	for i, s := range states {
		list[i] = admin.Connection{
			Socket: s.Socket, UserID: s.UserID, Since: s.Since, Subscriptions: s.Subscriptions,
			Library: s.Client.Library, Version: s.Client.Version, Protocol: s.Client.Protocol,
			Transport: s.Client.Transport, Remote: s.Client.Remote, TLS: s.Client.TLS,
		}
	}
	return list
}

func (t traffic) Channels(ctx context.Context, app, prefix string) ([]admin.Channel, error) {
	states, err := t.engine.Channels(ctx, app, prefix)
	list := make([]admin.Channel, len(states))
	for i, s := range states {
		list[i] = admin.Channel{Name: s.Name, Kind: s.Name.Kind().String(), Subscriptions: s.SubscriptionCount, Users: s.UserCount}
	}
	return list, err
}

func (t traffic) Users(ctx context.Context, topic proxy.Topic) ([]string, error) {
	return t.engine.Users(ctx, topic)
}

// outbox shows the webhooks' outbox.
type outbox struct{ outbox *webhooks.Outbox }

func (o outbox) Status() any {
	if list := o.outbox.Status(); list != nil {
		return list
	}
	return []webhooks.Status{}
}

func (o outbox) Dead(f admin.WebhookFilter) (any, error) {
	letters, err := o.outbox.Dead(webhooks.Filter(f))
	if letters == nil {
		letters = []webhooks.Letter{}
	}
	return letters, err
}

func (o outbox) Replay(ctx context.Context, f admin.WebhookFilter) (int, error) {
	return o.outbox.Replay(ctx, webhooks.Filter(f))
}

// liveFeed shows the records that the tap's feed carries.
type liveFeed struct{ feed *tap.Feed }

func (l liveFeed) Subscribe(ctx context.Context, f admin.FeedFilter) <-chan proxy.Record {
	return l.feed.Subscribe(ctx, tap.Filter(f))
}
