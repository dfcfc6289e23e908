package inventory

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, path string) (*Inventory, *bbolt.DB) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	inv, err := New(Settings{DB: db, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return inv, db
}

func topic(channel string) proxy.Topic {
	return proxy.Topic{App: "app", Channel: protocol.ChannelName(channel)}
}

// relayed is what a relay shows of a small stretch of traffic.
func relayed() []proxy.Record {
	js := &proxy.Client{Library: "js", Version: "8.6.0", Protocol: 7, Transport: "ws"}
	published := func(channel, name, data string, by proxy.Publisher, socket protocol.SocketID) proxy.Record {
		return proxy.Record{Kind: proxy.KindPublished, At: noon, Leg: proxy.LegVendor, Topic: topic(channel),
			Event: &proxy.Event{Topic: topic(channel), Name: name, Data: []byte(data), Publisher: by, Socket: socket}}
	}
	records := []proxy.Record{
		{Kind: proxy.KindConnected, At: noon, Leg: proxy.LegVendor, Topic: topic(""), Socket: "1.1", Client: js},
		{Kind: proxy.KindConnected, At: noon, Leg: proxy.LegVendor, Topic: topic(""), Socket: "1.2", Client: js},
		{Kind: proxy.KindSubscribed, At: noon, Leg: proxy.LegVendor, Topic: topic("private-order-1"), Socket: "1.1", Count: 1},
		{Kind: proxy.KindSubscribed, At: noon, Leg: proxy.LegVendor, Topic: topic("private-order-2"), Socket: "1.2", Count: 1},
		{Kind: proxy.KindSubscribed, At: noon, Leg: proxy.LegVendor, Topic: topic("presence-room-5"), Socket: "1.1", UserID: "7", Count: 1},
		{Kind: proxy.KindSubscribed, At: noon, Leg: proxy.LegVendor, Topic: topic("presence-room-5"), Socket: "1.2", UserID: "8", Count: 2},
		{Kind: proxy.KindMemberAdded, At: noon, Leg: proxy.LegVendor, Topic: topic("presence-room-5"), UserID: "8"},
		{Kind: proxy.KindAllowed, At: noon, Leg: proxy.LegVendor, Topic: topic(""), Action: "http batch_events", Code: 200},
		published("private-order-1", "sent", "12345", proxy.ByServer, ""),
		published("private-order-2", "sent", "1234567", proxy.ByServer, ""),
		published("presence-room-5", "client-typing", "1", proxy.ByClient, "1.1"),
		{Kind: proxy.KindDelivered, At: noon, Leg: proxy.LegVendor, Topic: topic("private-order-1"), Socket: "1.1", Count: 1},
		{Kind: proxy.KindDelivered, At: noon, Leg: proxy.LegEngine, Topic: topic("private-order-1"), Socket: "1.1", Count: 1}, // a double
		{Kind: proxy.KindRefused, At: noon, Leg: proxy.LegVendor, Topic: topic(""), Action: "connect", Code: 4004, Text: "over quota"},
	}
	return append(records, proxy.Record{Kind: proxy.KindDisconnected, At: noon.Add(time.Minute), Leg: proxy.LegVendor, Topic: topic(""), Socket: "1.2"})
}

func check(t *testing.T, d Document) {
	t.Helper()
	if len(d.Channels) != 2 || d.Channels[0].Pattern != "private-order-{int}" || d.Channels[0].Distinct != 2 ||
		d.Channels[0].Events != 2 || d.Channels[0].BytesMax != 7 || d.Channels[0].BytesTotal != 12 {
		t.Errorf("channels are %+v", d.Channels[0])
	}
	if room := d.Channels[1]; room.Type != "presence" || room.PeakMembers != 2 || room.Subscriptions != 2 {
		t.Errorf("the room is %+v", room)
	}
	if len(d.Clients) != 1 || d.Clients[0].Connections != 2 || d.Clients[0].Library != "js" {
		t.Errorf("clients are %+v", d.Clients)
	}
	if d.Peaks.Connections != 2 || d.Peaks.PublishesPerSecond != 2 || d.Peaks.ClientEventsPerSecond != 1 {
		t.Errorf("peaks are %+v", d.Peaks)
	}
	want := Messages{APICalls: 1, ClientEvents: 1, Deliveries: 1, Presence: 2}
	if len(d.Days) != 1 || d.Days[0].Messages != want || d.Days[0].Total() != 5 {
		t.Errorf("the day is %+v, want %+v", d.Days, want)
	}
	for _, name := range []string{FeaturePresence, FeatureClientEvents, FeatureBatch} {
		found := false
		for _, f := range d.Features {
			found = found || f.Name == name
		}
		if !found {
			t.Errorf("feature %q was not noticed", name)
		}
	}
	if len(d.Refusals) != 1 || d.Refusals[0].Code != 4004 {
		t.Errorf("refusals are %+v", d.Refusals)
	}
}

func TestInventoryLearnsFromTraffic(t *testing.T) {
	inv, db := open(t, filepath.Join(t.TempDir(), "db"))
	defer func() { _ = db.Close() }()
	for _, r := range relayed() {
		inv.Offer(r)
	}
	check(t, inv.Document("app"))
	if d := inv.Document("another"); !d.To.IsZero() {
		t.Errorf("another app has %+v", d)
	}
}

func TestInventorySurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	inv, db := open(t, path)
	for _, r := range relayed() {
		inv.Offer(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := inv.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again, db := open(t, path)
	defer func() { _ = db.Close() }()
	check(t, again.Document("app"))
	again.Offer(relayed()[8])
	if got := again.Document("app").Channels[0].Events; got != 3 {
		t.Errorf("after the restart the pattern has %d events, want 3", got)
	}
}

func TestInventoryIsBounded(t *testing.T) {
	inv, db := open(t, filepath.Join(t.TempDir(), "db"))
	defer func() { _ = db.Close() }()
	for i := range 3 * maxRows {
		// Letters, as numbers would be one pattern.
		name := fmt.Sprintf("c%c%c%c", 'g'+i%17, 'g'+i/17%17, 'g'+i/289)
		inv.Offer(proxy.Record{Kind: proxy.KindSubscribed, At: noon, Leg: proxy.LegVendor, Topic: topic(name), Count: 1})
	}
	d := inv.Document("app")
	if len(d.Channels) != maxRows+1 || d.Channels[maxRows].Pattern != other || d.Channels[maxRows].Subscriptions < maxRows {
		t.Errorf("there are %d patterns, the last is %+v", len(d.Channels), d.Channels[len(d.Channels)-1])
	}
}

func TestBackendsAreNoUse(t *testing.T) {
	inv, db := open(t, filepath.Join(t.TempDir(), "db"))
	defer func() { _ = db.Close() }()
	inv.Offer(proxy.Record{Kind: proxy.KindDelivered, At: noon, Leg: "nats", Topic: topic("c"), Count: 1})
	if d := inv.Document("app"); !d.To.IsZero() {
		t.Errorf("a backend's delivery was counted: %+v", d)
	}
}
