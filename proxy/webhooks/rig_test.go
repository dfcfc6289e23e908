package webhooks

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
	"github.com/offramp/offramp/proxy/protocol"
)

// The key and secret of the vendor's documented examples.
const (
	vendorKey    = "278d425bdf160c739803"
	vendorSecret = "7ad3773142a6692b25b8"
)

// rig is an outbox with a receiver behind an in-memory network, for use in a
// synctest bubble.
type rig struct {
	t        *testing.T
	db       *bbolt.DB
	registry *apps.Registry
	receiver *fakeReceiver
	outbox   *Outbox
	settings Settings
	stop     func()      // ends Run and waits
	shared   *memoryTold // nil: there are no other nodes
}

func newApp(id string, hooks ...proxy.Webhook) *proxy.App {
	a := proxy.Defaults()
	a.ID = id
	a.Credentials = []proxy.Credential{{Key: "key-" + id, Secret: proxy.NewSecret("secret-" + id)}}
	a.Webhooks = hooks
	return &a
}

func everything(url string) proxy.Webhook {
	return proxy.Webhook{URL: url, Events: proxy.WebhookTypes()}
}

func openDB(t *testing.T, path string) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// newRig returns a rig whose outbox runs.
func newRig(t *testing.T, all ...*proxy.App) *rig {
	t.Helper()
	registry, err := apps.New(all)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, db: openDB(t, filepath.Join(t.TempDir(), "outbox.db")), registry: registry, receiver: newFakeReceiver(t)}
	r.settings = Settings{DB: r.db, Apps: registry, Log: zerolog.Nop(), Transport: r.receiver.transport()}
	r.start()
	return r
}

// newSharedRig returns a rig that shares with other nodes what it tells.
func newSharedRig(t *testing.T, all ...*proxy.App) *rig {
	t.Helper()
	r := newRig(t, all...)
	r.stop()
	r.shared = newMemoryTold()
	r.settings.Told = r.shared
	r.start()
	return r
}

// start opens the outbox and runs it.
func (r *rig) start() {
	r.t.Helper()
	o, err := New(r.settings)
	if err != nil {
		r.t.Fatal(err)
	}
	r.outbox = o
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

// restart ends the outbox and starts another on the same database.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

func (r *rig) offer(records ...proxy.Record) {
	r.t.Helper()
	for _, record := range records {
		record.Leg = proxy.LegEngine
		if record.At.IsZero() {
			record.At = time.Now()
		}
		if r.shared != nil {
			r.shared.happen(record)
		}
		if !r.outbox.Offer(record) {
			r.t.Errorf("Offer(%s on %s) = false", record.Kind, record.Topic)
		}
	}
}

// got waits for everything that is going on now and returns the bodies that
// arrived since the last call.
func (r *rig) got() []delivered {
	synctest.Wait()
	return r.receiver.take()
}

func topic(app, channel string) proxy.Topic {
	return proxy.Topic{App: app, Channel: protocol.ChannelName(channel)}
}

func occupied(app, channel string) proxy.Record {
	return proxy.Record{Kind: proxy.KindOccupied, Topic: topic(app, channel)}
}

func vacated(app, channel string) proxy.Record {
	return proxy.Record{Kind: proxy.KindVacated, Topic: topic(app, channel)}
}

func added(app, channel, user string) proxy.Record {
	return proxy.Record{Kind: proxy.KindMemberAdded, Topic: topic(app, channel), UserID: user}
}

func left(app, channel, user string) proxy.Record {
	return proxy.Record{Kind: proxy.KindMemberRemoved, Topic: topic(app, channel), UserID: user}
}

func clientEvent(app, channel, data string) proxy.Record {
	ev := &proxy.Event{
		Topic: topic(app, channel), Name: "client-typing", Data: []byte(data),
		Socket: "1234.5678", UserID: "7", Publisher: proxy.ByClient,
	}
	return proxy.Record{Kind: proxy.KindPublished, Topic: ev.Topic, Event: ev}
}

// delivered is one request that the fake receiver got.
type delivered struct {
	at     time.Time
	host   string
	header http.Header
	raw    string
	TimeMS int64            `json:"time_ms"`
	Events []map[string]any `json:"events"`
}

// names returns "name channel" of every event of those requests.
func names(all []delivered) []string {
	var list []string
	for _, d := range all {
		for _, e := range d.Events {
			list = append(list, e["name"].(string)+" "+e["channel"].(string))
		}
	}
	return list
}

// fakeReceiver is a customer's HTTP server on an in-memory listener.
type fakeReceiver struct {
	conns  chan net.Conn
	closed chan struct{}

	mu     sync.Mutex
	got    []delivered
	answer func(w http.ResponseWriter, d delivered) // nil: 200
	refuse bool                                     // connections
}

func newFakeReceiver(t *testing.T) *fakeReceiver {
	f := &fakeReceiver{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: f}
	go func() { _ = srv.Serve(f) }()
	t.Cleanup(func() { _ = srv.Close() })
	return f
}

func (f *fakeReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, _ := io.ReadAll(req.Body)
	d := delivered{at: time.Now(), host: req.Host, header: req.Header, raw: string(raw)}
	if err := json.Unmarshal(raw, &d); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	answer := f.answer
	f.got = append(f.got, d)
	f.mu.Unlock()
	if answer != nil {
		answer(w, d)
	}
}

// behave sets how the receiver answers from now on.
func (f *fakeReceiver) behave(answer func(http.ResponseWriter, delivered)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func status(code int) func(http.ResponseWriter, delivered) {
	return func(w http.ResponseWriter, _ delivered) { w.WriteHeader(code) }
}

// unplug makes connections fail, or work again.
func (f *fakeReceiver) unplug(refuse bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

func (f *fakeReceiver) take() []delivered {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := slices.Clone(f.got)
	f.got = nil
	return got
}

func (f *fakeReceiver) transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		f.mu.Lock()
		refuse := f.refuse
		f.mu.Unlock()
		if refuse {
			return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
		}
		ours, theirs := net.Pipe()
		select {
		case f.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

// Accept, Close and Addr implement net.Listener.

func (f *fakeReceiver) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *fakeReceiver) Close() error {
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	return nil
}

func (f *fakeReceiver) Addr() net.Addr { return &net.UnixAddr{Name: "receiver", Net: "unix"} }
