package translatortest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/plugins"
	"github.com/offramp/offramp/plugins/host"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/translators"
)

// Options say what to test. One of Command.Path and Translator is set.
type Options struct {
	// Command starts the plugin as a process. Its Log and Secrets are not used.
	Command host.Command
	// Translator is tested in this process. Suites about processes are skipped.
	Translator translators.Translator
	Settings   translators.Settings
	// Secrets are texts that must not appear in the plugin's output. Those of
	// secret settings are added by themselves.
	Secrets []string
	// Outage takes the backend away, and back when the returned function is
	// called. Without it the suite about outages is skipped.
	Outage func() (restore func(), err error)
	// Slow makes the backend slow to answer, until the returned function is
	// called; see Delay. Without it the suite about that is skipped.
	Slow func() (restore func(), err error)
	// Patience is how long an event may take to arrive. Default 5s.
	Patience time.Duration
	// Throughput is the least number of events per second that must pass.
	// Default 500; a translator that declares a lower rate is held to that.
	Throughput float64
	// Only names the suites to run; empty: all.
	Only []string
}

// Outcome is what became of a suite.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is the outcome of one suite.
type Result struct {
	Suite   string
	Rule    string // what it holds a plugin to
	Outcome Outcome
	Detail  string // why it failed or was skipped
	Took    time.Duration
}

// Report is what the kit found out.
type Report struct {
	Description translators.Description
	Results     []Result
}

// Passed reports whether no suite failed.
func (r Report) Passed() bool { return r.count(Failed) == 0 }

func (r Report) count(o Outcome) int {
	n := 0
	for _, result := range r.Results {
		if result.Outcome == o {
			n++
		}
	}
	return n
}

// suite is one rule and its test.
type suite struct {
	name string
	rule string
	run  func(context.Context, *kit) error
}

// suites returns all suites, in the order in which they run.
func suites() []suite {
	return []suite{
		{"describe", "the description is complete, and what it declares the session has", checkDescribe},
		{"settings", "settings are validated, and problems name the setting", checkSettings},
		{"preview", "the native form of no two channels is the same", checkPreview},
		{"bytes", "data arrives byte for byte", checkBytes},
		{"fields", "event name, sender, exclusion, kind, origin and id arrive with the data", checkFields},
		{"names", "every legal channel name works, and none is taken for another", checkNames},
		{"order", "a channel's events arrive in the order in which they were published", checkOrder},
		{"results", "there is exactly one result per item, whatever the batch", checkResults},
		{"deadline", "an item whose deadline has passed is not published", checkDeadline},
		{"dedupe", "an item sent twice with one mirror id arrives once", checkDedupe},
		{"echo", "a bridge's own events do not come back to it unrecognised", checkEcho},
		{"subscribe", "events are shown from the subscription's confirmation to its end", checkSubscribe},
		{"limits", "what is over a declared limit is refused as such, and what is not passes", checkLimits},
		{"rate", "beyond the declared rate items are throttled, not lost", checkRate},
		{"credit", "credit is granted again as results are given, and no more is shown than was granted", checkCredit},
		{"presence", "members become what they should be, from any state", checkPresence},
		{"drain", "draining answers everything, and what was acknowledged is not lost", checkDrain},
		{"slow", "a slow backend delays events; none is given up, acknowledged before it is there, or put before another", checkSlow},
		{"outage", "an outage of the backend is told, nothing is acknowledged in it, and it ends by itself", checkOutage},
		{"kill", "after a kill in mid-batch, sending again loses nothing", checkKill},
		{"host", "the process ends when its gateway is gone", checkHostDeath},
		{"secrets", "no secret appears in the output", checkSecrets},
		{"leaks", "sessions leave no goroutine, and subscriptions no descriptor, behind", checkLeaks},
		{"throughput", "events pass at the rate that is asked for", checkThroughput},
	}
}

// Names returns the suites' names, in the order in which they run.
func Names() []string {
	var names []string
	for _, s := range suites() {
		names = append(names, s.name)
	}
	return names
}

// suitePatience bounds one suite.
const suitePatience = 2 * time.Minute

// errSkip wraps the reason for which a suite does not apply.
type errSkip struct{ reason string }

func (e errSkip) Error() string { return e.reason }

func skip(format string, args ...any) error { return errSkip{fmt.Sprintf(format, args...)} }

// kit is what suites work with.
type kit struct {
	options     Options
	description translators.Description
	run         string // distinguishes this run's channels on a shared backend
	sent        *ledger
	begun       map[string]<-chan Result // suites that only wait, beside the others
}

// Check runs every suite and returns what it found. The error says why the
// plugin could not be tested at all.
func Check(ctx context.Context, o Options) (Report, error) {
	k, err := newKit(ctx, o)
	if err != nil {
		return Report{}, err
	}
	report := Report{Description: k.description}
	k.begin(ctx)
	for _, s := range suites() {
		if k.wants(s.name) {
			report.Results = append(report.Results, k.check(ctx, s))
		}
	}
	return report, nil
}

// Run runs every suite as a subtest of t.
func Run(t *testing.T, o Options) {
	t.Helper()
	k, err := newKit(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	k.begin(t.Context())
	for _, s := range suites() {
		if !k.wants(s.name) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			switch r := k.check(t.Context(), s); r.Outcome {
			case Failed:
				t.Errorf("%s: %s", r.Rule, r.Detail)
			case Skipped:
				t.Logf("not applicable: %s", r.Detail)
			}
		})
	}
}

func newKit(ctx context.Context, o Options) (*kit, error) {
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Throughput == 0 {
		o.Throughput = 500
	}
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	k := &kit{options: o, run: hex.EncodeToString(random[:]), sent: newLedger()}
	i, err := k.start(ctx)
	if err != nil {
		return nil, err
	}
	defer i.stop()
	if k.description, err = i.client.Describe(ctx); err != nil {
		return nil, err
	}
	problems, err := i.client.Validate(ctx, o.Settings)
	if err == nil && len(problems) > 0 {
		err = problems
	}
	if err == nil {
		err = k.probe(ctx)
	}
	return k, err
}

// probe publishes, and subscribes, once: against a backend that is not there
// every suite would fail, each in its own time.
func (k *kit) probe(ctx context.Context) error {
	p, err := k.open(ctx, proxy.RoleShadow)
	if err != nil {
		return err
	}
	defer p.close()
	channel := k.channel("probe")
	if k.carries(translators.FeatureSubscribe) && p.watching != nil {
		if err := p.watch(ctx, channel); err != nil {
			return fmt.Errorf("%w; is the backend running, where the settings say?", err)
		}
	}
	e := k.maker().item(channel, []byte("{}"))
	e.Deadline = time.Now().Add(k.options.Patience)
	results, err := p.put(ctx, e)
	if err == nil && results[0].Code == translators.CodeExpired {
		return fmt.Errorf("an event was not accepted within %s; is the backend running, where the settings say?", k.options.Patience)
	}
	return nil // what else may be wrong with it, the suites say
}

func (k *kit) wants(name string) bool {
	for _, only := range k.options.Only {
		if only == name {
			return true
		}
	}
	return len(k.options.Only) == 0
}

// begin starts the suite that waits longest, for a lease to expire, and touches
// nothing that others do.
func (k *kit) begin(ctx context.Context) {
	k.begun = map[string]<-chan Result{}
	for _, s := range suites() {
		if s.name == "host" && k.wants(s.name) {
			done := make(chan Result, 1)
			k.begun[s.name] = done
			go func() { done <- k.conduct(ctx, s) }()
		}
	}
}

// check returns a suite's result.
func (k *kit) check(ctx context.Context, s suite) Result {
	if done, ok := k.begun[s.name]; ok {
		return <-done
	}
	return k.conduct(ctx, s)
}

func (k *kit) conduct(ctx context.Context, s suite) Result {
	ctx, cancel := context.WithTimeout(ctx, suitePatience)
	defer cancel()
	began := time.Now()
	err := s.run(ctx, k)
	r := Result{Suite: s.name, Rule: s.rule, Outcome: Passed, Took: time.Since(began)}
	if skipped, ok := errors.AsType[errSkip](err); ok {
		r.Outcome, r.Detail = Skipped, skipped.reason
	} else if err != nil {
		r.Outcome, r.Detail = Failed, err.Error()
	}
	return r
}

// instance is a plugin that has started.
type instance struct {
	client  *plugins.Client
	process *host.Process // nil in this process
	stop    func()
}

func (k *kit) start(ctx context.Context) (*instance, error) {
	if k.options.Translator != nil {
		client, stop, err := plugins.Local(k.options.Translator)
		if err != nil {
			return nil, err
		}
		return &instance{client: client, stop: stop}, nil
	}
	c := k.options.Command
	c.Log, c.Secrets = zerolog.Nop(), nil
	p, err := host.Launch(ctx, c)
	if err != nil {
		return nil, err
	}
	return &instance{client: p.Client, process: p, stop: p.Stop}, nil
}

// needs skips a suite that asks for a feature that is not declared to work.
func (k *kit) needs(features ...translators.Feature) error {
	for _, f := range features {
		if level := k.description.Features[f].Level; level < translators.Emulated {
			return skip("%s is declared %s", f, level)
		}
	}
	return nil
}

// needsProcess skips a suite that is about processes.
func (k *kit) needsProcess() error {
	if k.options.Translator != nil {
		return skip("the translator runs in the kit's own process")
	}
	return nil
}
