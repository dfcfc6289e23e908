package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/shadow"
)

// saveEvery is how often the inventory is written to disk.
const saveEvery = 30 * time.Second

var bucket = []byte("shadow/inventory/v1")

// Settings are what an Inventory is made of.
type Settings struct {
	DB  *bbolt.DB // keeps it across restarts, in a bucket of its own
	Log zerolog.Logger
}

// Inventory is a proxy.Sink that learns what apps use. It is safe for
// concurrent use.
type Inventory struct {
	settings Settings

	mu   sync.Mutex
	apps map[string]*app
}

var _ proxy.Sink = (*Inventory)(nil)

// New returns the inventory that the database holds. It starts nothing.
func New(s Settings) (*Inventory, error) {
	inv := &Inventory{settings: s, apps: make(map[string]*app)}
	err := s.DB.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return b.ForEach(func(id, text []byte) error {
			a := newApp(string(id))
			if err := json.Unmarshal(text, &a.Document); err != nil {
				return fmt.Errorf("app %s: %w", id, err)
			}
			a.index()
			inv.apps[string(id)] = a
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("open the inventory: %w", err)
	}
	return inv, nil
}

// Kinds are the records that an inventory is made from.
func Kinds() proxy.Kinds {
	return proxy.KindsOf(
		proxy.KindConnected, proxy.KindDisconnected, proxy.KindSubscribed, proxy.KindUnsubscribed,
		proxy.KindMemberAdded, proxy.KindMemberRemoved, proxy.KindCacheMiss,
		proxy.KindPublished, proxy.KindDelivered, proxy.KindAllowed, proxy.KindRefused,
	)
}

// Offer implements proxy.Sink. It takes every record, at the cost of a few
// map look-ups.
func (inv *Inventory) Offer(r proxy.Record) bool {
	if r.Topic.App == "" || r.Leg != proxy.LegVendor && r.Leg != proxy.LegEngine {
		return true // what backends do is no use that the app makes of its service
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	a := inv.apps[r.Topic.App]
	if a == nil {
		a = newApp(r.Topic.App)
		inv.apps[r.Topic.App] = a
	}
	a.see(&r)
	return true
}

// Run writes the inventory to disk now and then, and once more when ctx ends.
func (inv *Inventory) Run(ctx context.Context) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return inv.save()
		case <-tick.C:
			if err := inv.save(); err != nil {
				inv.settings.Log.Error().Err(err).Msg("inventory not saved; kept in memory")
			}
		}
	}
}

func (inv *Inventory) save() error {
	texts := make(map[string][]byte)
	inv.mu.Lock()
	for id, a := range inv.apps {
		if !a.dirty {
			continue
		}
		text, err := json.Marshal(a.Document)
		if err != nil {
			inv.mu.Unlock()
			return fmt.Errorf("save the inventory of app %s: %w", id, err)
		}
		texts[id], a.dirty = text, false
	}
	inv.mu.Unlock()
	if len(texts) == 0 {
		return nil
	}
	err := inv.settings.DB.Update(func(tx *bbolt.Tx) error {
		for id, text := range texts {
			if err := tx.Bucket(bucket).Put([]byte(id), text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save the inventory: %w", err)
	}
	return nil
}

// Document returns a copy of what is known of an app.
func (inv *Inventory) Document(appID string) Document {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if a := inv.apps[appID]; a != nil {
		return a.Document.clone()
	}
	return newApp(appID).Document
}

// app is what is known of one app, and the scratch that it is learned with.
type app struct {
	Document
	dirty bool
	today time.Time // the date of the last of Days, once a record has come

	channels map[string]*Channels
	events   map[eventKey]*Event
	clients  map[clientKey]*Client
	features map[string]*Feature
	refusals map[refusalKey]*Refusal

	known     map[protocol.ChannelName]*Channels // patterns of channels, up to maxTracked: finding one is dear
	open      map[protocol.SocketID]bool         // connections, up to maxTracked
	distinct  map[string]map[uint64]struct{}     // channel names by pattern, hashed, up to maxDistinct each
	seats     map[protocol.ChannelName]int       // subscriptions of occupied channels, up to maxTracked
	second    int64                              // the running second of the rates below
	publishes int                                // in the running second
	typed     map[protocol.SocketID]int          // client events in the running second, by connection
}

type eventKey struct{ name, publisher string }

type clientKey struct {
	library, version, transport string
	protocol                    int
}

type refusalKey struct {
	action, text string
	code         int
}

// Bounds of memory and of the document. What does not fit is counted under
// the name "other".
const (
	maxRows     = 500
	maxTracked  = 100_000
	maxDistinct = 10_000
	maxDays     = 400
	other       = "other"
)

func newApp(id string) *app {
	a := &app{Document: Document{Schema: Schema, App: id}}
	a.index()
	return a
}

// index rebuilds the look-ups from the document.
func (a *app) index() {
	a.channels = make(map[string]*Channels)
	a.events = make(map[eventKey]*Event)
	a.clients = make(map[clientKey]*Client)
	a.features = make(map[string]*Feature)
	a.refusals = make(map[refusalKey]*Refusal)
	a.known = make(map[protocol.ChannelName]*Channels)
	a.open = make(map[protocol.SocketID]bool)
	a.distinct = make(map[string]map[uint64]struct{})
	a.seats = make(map[protocol.ChannelName]int)
	a.typed = make(map[protocol.SocketID]int)
	for _, c := range a.Channels {
		a.channels[c.Pattern] = c
	}
	for _, e := range a.Events {
		a.events[eventKey{e.Name, e.Publisher}] = e
	}
	for _, c := range a.Clients {
		a.clients[clientKey{c.Library, c.Version, c.Transport, c.Protocol}] = c
	}
	for _, f := range a.Features {
		a.features[f.Name] = f
	}
	for _, r := range a.Refusals {
		a.refusals[refusalKey{r.Action, r.Text, r.Code}] = r
	}
}

// day returns the counts of the day that a record belongs to.
func (a *app) day(at time.Time) *Messages {
	date := at.UTC().Truncate(24 * time.Hour)
	n := len(a.Days)
	if n > 0 && date.Equal(a.today) {
		return &a.Days[n-1].Messages
	}
	a.today = date
	written := date.Format(time.DateOnly)
	if n > 0 && a.Days[n-1].Date == written {
		return &a.Days[n-1].Messages
	}
	a.Days = append(a.Days, Day{Date: written})
	if len(a.Days) > maxDays {
		a.Days = a.Days[1:]
	}
	return &a.Days[len(a.Days)-1].Messages
}

func (a *app) pattern(name protocol.ChannelName) *Channels {
	if c := a.known[name]; c != nil {
		return c
	}
	pattern := shadow.Pattern(name)
	c := a.channels[pattern]
	if c == nil && len(a.channels) >= maxRows {
		pattern = other
		c = a.channels[pattern]
	}
	if c == nil {
		c = &Channels{Pattern: pattern, Type: shadow.ChannelType(name)}
		a.channels[pattern] = c
		a.Channels = append(a.Channels, c)
	}
	if len(a.known) < maxTracked {
		a.known[name] = c
	}
	return c
}
