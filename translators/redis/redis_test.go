package redis_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/offramp/offramp/integration/harness"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
	"github.com/offramp/offramp/translators/redis"
	"github.com/offramp/offramp/translators/translatortest"
)

// TestMain makes the test binary the plugin, too.
func TestMain(m *testing.M) { translatortest.Main(m, redis.New()) }

const password = "p4ssw0rd-of-redis"

// server is a redis-server process.
type server struct {
	address string
	kill    func()
}

// startServer starts a redis-server at an address, or anywhere when it is "",
// with options beside the usual ones.
func startServer(t *testing.T, address string, options ...string) server {
	t.Helper()
	if address == "" {
		address = net.JoinHostPort("127.0.0.1", freePort(t))
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", append([]string{
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--requirepass", password, "--dir", t.TempDir(),
	}, options...)...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start redis-server (Debian package redis-server): %v", err)
	}
	s := server{address: address, kill: sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})}
	t.Cleanup(s.kill)
	client := goredis.NewClient(&goredis.Options{Addr: address, Password: password})
	defer client.Close()
	for deadline := time.Now().Add(10 * time.Second); client.Ping(context.Background()).Err() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("redis-server did not start")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(harness.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func settings(s server, mode string) translators.Settings {
	return translators.Settings{"url": "redis://" + s.address, "password": proxy.NewSecret(password), "mode": mode, "timeout": "1s"}
}

func TestConformance(t *testing.T) {
	for _, mode := range []string{"pubsub", "streams"} {
		for _, process := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode=%s/process=%v", mode, process), func(t *testing.T) {
				if process {
					t.Parallel() // after those in this process, whose goroutines are counted
				}
				s := startServer(t, "")
				o := translatortest.Options{Settings: settings(s, mode), Throughput: 50, Outage: func() (func(), error) {
					s.kill()
					return func() { s = startServer(t, s.address) }, nil
				}}
				if process {
					o.Command = translatortest.Self(t)
				} else {
					o.Translator = redis.New()
				}
				translatortest.Run(t, o)
			})
		}
	}
}

func open(t *testing.T, s translators.Settings) translators.Session {
	t.Helper()
	return translatortest.Open(t, redis.New(), proxy.RoleShadow, s)
}

func TestStreamsRecogniseRepeatsAndStayShort(t *testing.T) {
	s := startServer(t, "")
	session := open(t, translators.Settings{
		"url": "redis://" + s.address, "password": password, "mode": "streams", "stream_length": 100,
	})
	ctx := context.Background()
	item := translators.Envelope{ID: proxy.EventID{Node: 1, Seq: 1}, App: "1", Channel: "room", Event: "e", Data: []byte("\x00\xff")}
	first, again := session.Publish(ctx, []translators.Envelope{item}), session.Publish(ctx, []translators.Envelope{item})
	if first[0].Code != translators.CodeOK || again[0].Code != translators.CodeDuplicate {
		t.Errorf("answers %s and %s, want OK and DUPLICATE", first[0].Code, again[0].Code)
	}
	for seq := range uint64(1000) {
		item.ID.Seq = seq + 2
		session.Publish(ctx, []translators.Envelope{item})
	}
	client := goredis.NewClient(&goredis.Options{Addr: s.address, Password: password})
	defer client.Close()
	n, err := client.XLen(ctx, "offramp:app:room").Result()
	if err != nil || n < 100 || n > 300 {
		t.Errorf("the stream has %d entries, %v, want about 100", n, err)
	}
	last, err := client.XRevRangeN(ctx, "offramp:app:room", "+", "-", 1).Result()
	if err != nil || last[0].Values["data"] != "\x00\xff" || last[0].Values["event"] != "e" {
		t.Errorf("the last entry is %v, %v", last, err)
	}
}

func TestPermissionsAreToldAsSuch(t *testing.T) {
	s := startServer(t, "")
	client := goredis.NewClient(&goredis.Options{Addr: s.address, Password: password})
	defer client.Close()
	err := client.Do(context.Background(), "ACL", "SETUSER", "limited", "on", ">pw-of-limited", "+ping", "+publish", "&offramp:app:open").Err()
	if err != nil {
		t.Fatal(err)
	}
	session := open(t, translators.Settings{"url": "redis://" + s.address, "user": "limited", "password": "pw-of-limited"})
	results := session.Publish(context.Background(), []translators.Envelope{
		{ID: proxy.EventID{Node: 1, Seq: 1}, Channel: "open"}, {ID: proxy.EventID{Node: 1, Seq: 2}, Channel: "closed"},
	})
	if results[0].Code != translators.CodeOK || results[1].Code != translators.CodeRejectedAuth {
		t.Errorf("answers %s and %s, want OK and REJECTED_AUTH", results[0].Code, results[1].Code)
	}
}

func TestForeignMessagesAreShownAsTheyAre(t *testing.T) {
	s := startServer(t, "")
	session := open(t, settings(s, "pubsub"))
	w := translatortest.Watch(t, session, "room")
	client := goredis.NewClient(&goredis.Options{Addr: s.address, Password: password})
	defer client.Close()
	client.Publish(context.Background(), "offramp:app:room", `{"not":"ours"}`)
	translatortest.WaitFor(t, "the message", func() bool { return len(w.Delivered()) == 1 })
	if e := w.Delivered()[0]; !e.ID.IsZero() || string(e.Data) != `{"not":"ours"}` {
		t.Errorf("shown %+v", e)
	}
}

func TestPubSubWorksThroughANodeOfACluster(t *testing.T) {
	s := startServer(t, "", "--cluster-enabled", "yes", "--cluster-port", freePort(t))
	client := goredis.NewClient(&goredis.Options{Addr: s.address, Password: password})
	defer client.Close()
	if err := client.ClusterAddSlotsRange(context.Background(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	translatortest.WaitFor(t, "the cluster", func() bool {
		return strings.Contains(client.ClusterInfo(context.Background()).Val(), "cluster_state:ok")
	})
	session := open(t, settings(s, "pubsub"))
	w := translatortest.Watch(t, session, "room")
	if got := translatortest.Codes(session.Publish(context.Background(), []translators.Envelope{translatortest.Item(1, "room", "x")})); got != "OK" {
		t.Errorf("answer %s, want OK", got)
	}
	translatortest.WaitFor(t, "the event", func() bool { return len(w.Delivered()) == 1 })
}

func TestOpenSaysWhatToChange(t *testing.T) {
	s, node := startServer(t, ""), startServer(t, "", "--cluster-enabled", "yes", "--cluster-port", freePort(t))
	for name, tc := range map[string]struct {
		settings translators.Settings
		want     string
	}{
		"streams on a cluster": {settings(node, "streams"), "is a node of a Redis Cluster"},
		"no url":               {translators.Settings{}, "settings.url: is required"},
		"not a Redis url":      {translators.Settings{"url": "http://x:secret@y"}, "settings.url: is not a Redis URL such as"},
		"no server there":      {translators.Settings{"url": "redis://127.0.0.1:1"}, "connect to Redis at 127.0.0.1:1"},
		"wrong password":       {translators.Settings{"url": "redis://" + s.address, "password": "wrong-one"}, "WRONGPASS"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := redis.New().Open(context.Background(), translators.Binding{App: "1", Settings: tc.settings, Log: zerolog.Nop()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: %v, want %q in it", err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), "wrong-one") || strings.Contains(err.Error(), "secret")) {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}
