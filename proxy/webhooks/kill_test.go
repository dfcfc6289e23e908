package webhooks

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/apps"
)

// The test binary runs itself as the process to be killed: with these set, it
// is one.
const (
	victimDB  = "OFFRAMP_TEST_VICTIM_DB"
	victimURL = "OFFRAMP_TEST_VICTIM_URL"
	victimRun = "OFFRAMP_TEST_VICTIM_RUN" // "idle", or the number of its first client event
)

func TestMain(m *testing.M) {
	if path := os.Getenv(victimDB); path != "" {
		if err := victim(path, os.Getenv(victimURL), os.Getenv(victimRun)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim runs an outbox and an engine's worth of records until it is killed.
// It prints the number of each client event once that is on disk.
func victim(path, url, run string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	registry, err := apps.New([]*proxy.App{newApp("1", everything(url))})
	if err != nil {
		return err
	}
	o, err := New(Settings{DB: db, Apps: registry, Log: zerolog.New(os.Stderr)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if run == "idle" {
		go drain(o, cancel)
		return o.Run(ctx)
	}
	first, err := strconv.Atoi(run)
	if err != nil {
		return err
	}
	go crowd(o)
	go typist(o, first)
	return o.Run(ctx)
}

// drain ends an outbox when it has sent everything that was due.
func drain(o *Outbox, end func()) {
	time.Sleep(leaveDelay + time.Second)
	for o.Status()[0].Pending > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	end()
}

// crowd makes channels and members come and go at random.
func crowd(o *Outbox) {
	present := map[string]bool{}
	for {
		channel := fmt.Sprintf("presence-%d", rand.IntN(20))
		user := fmt.Sprint(rand.IntN(3))
		for _, key := range []string{channel, channel + " " + user} {
			if rand.IntN(3) == 0 {
				continue
			}
			o.Offer(crowdRecord(key, !present[key]))
			present[key] = !present[key]
		}
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	}
}

func crowdRecord(key string, arrives bool) proxy.Record {
	channel, user, member := strings.Cut(key, " ")
	r := occupied("1", channel)
	switch {
	case member && arrives:
		r = added("1", channel, user)
	case member:
		r = left("1", channel, user)
	case !arrives:
		r = vacated("1", channel)
	}
	r.Leg, r.At = proxy.LegEngine, time.Now()
	return r
}

// typist offers client events with consecutive numbers and prints each number
// when its event was accepted on disk.
func typist(o *Outbox, n int) {
	for ; ; n++ {
		r := clientEvent("1", "private-typing", strconv.Itoa(n))
		r.Leg = proxy.LegEngine
		o.Offer(r)
		written := make(chan struct{})
		o.intake.write(func(tx *bbolt.Tx) error {
			tx.OnCommit(func() { close(written) })
			return nil
		})
		<-written // and with it everything offered before
		fmt.Println(n)
		time.Sleep(10 * time.Millisecond)
	}
}

// audit is what the receiver of a process that is killed again and again
// sees.
type audit struct {
	t *testing.T

	mu       sync.Mutex
	run      int // how often the process was started
	next     int // number of the client event expected next, or a repetition
	received int // the highest number received
	believed map[string]lastHeard
}

// lastHeard is what the latest event of a channel or member said.
type lastHeard struct {
	there bool
	run   int // when
}

func (a *audit) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var body struct {
		Events []map[string]string `json:"events"`
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		a.t.Errorf("body: %v", err)
	}
	if rand.IntN(100) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range body.Events {
		a.see(e)
	}
}

func (a *audit) see(e map[string]string) {
	if e["name"] == "client_event" {
		n, err := strconv.Atoi(e["data"])
		if err != nil || n > a.received+1 {
			a.t.Errorf("client event %s (%v) follows %d: some are missing", e["data"], err, a.received)
		}
		a.received = max(a.received, n)
		return
	}
	key := strings.TrimSpace(e["channel"] + " " + e["user_id"])
	there := e["name"] == "channel_occupied" || e["name"] == "member_added"
	before, known := a.believed[key]
	switch {
	case !known && !there:
		a.t.Errorf("%s of %s comes before its arrival", e["name"], key)
	case known && before.there == there && before.run == a.run:
		a.t.Errorf("%s of %s twice without a restart between", e["name"], key)
	}
	a.believed[key] = lastHeard{there, a.run}
}

func (a *audit) begin() (firstNumber string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run++
	return strconv.Itoa(a.next)
}

// TestKilledAtAnyMoment kills a process at random moments, and checks that its
// receiver got every accepted event in order, saw no arrival or departure
// twice but for repetitions at a restart, and believes the truth in the end.
func TestKilledAtAnyMoment(t *testing.T) {
	a := &audit{t: t, next: 1, believed: map[string]lastHeard{}}
	srv := httptest.NewServer(a)
	defer srv.Close()
	db := filepath.Join(t.TempDir(), "outbox.db")
	accepted := 0
	for range 8 {
		life := time.Duration(50+rand.IntN(900)) * time.Millisecond
		accepted = max(accepted, a.live(db, srv.URL, a.begin(), life))
		a.mu.Lock()
		a.next = max(accepted, a.received) + 1
		a.mu.Unlock()
	}
	accepted = max(accepted, a.live(db, srv.URL, a.begin(), 4500*time.Millisecond)) // departures become news
	a.begin()
	a.live(db, srv.URL, "idle", time.Minute)
	a.mu.Lock()
	defer a.mu.Unlock()
	t.Logf("%d client events accepted, %d received, %d channels and members", accepted, a.received, len(a.believed))
	if accepted < 50 || a.received < accepted {
		t.Errorf("%d client events accepted, the last received is %d", accepted, a.received)
	}
	if len(a.believed) < 40 {
		t.Errorf("only %d channels and members seen", len(a.believed))
	}
	for key, b := range a.believed {
		if b.there {
			t.Errorf("the receiver believes %s to be there, and no process runs", key)
		}
	}
}

// live runs a process, kills it after a time, and returns the highest number
// it printed.
func (a *audit) live(db, url, run string, life time.Duration) (accepted int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDB+"="+db, victimURL+"="+url, victimRun+"="+run)
	cmd.Stderr = testWriter{a.t}
	out, err := cmd.StdoutPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	timer := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			accepted = n
		}
	}
	_ = cmd.Wait() // killed
	return accepted
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("victim: %s", strings.TrimSpace(string(p)))
	return len(p), nil
}

var _ io.Writer = testWriter{}
