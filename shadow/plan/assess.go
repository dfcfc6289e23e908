package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/offramp/offramp/shadow/inventory"
)

// Level says how much a finding weighs.
type Level string

// The levels, heaviest first.
const (
	Blocker Level = "blocker" // the exit cannot be completed before it is solved
	Risk    Level = "risk"    // needs a decision or a test
	Note    Level = "note"    // nothing to do, but good to know
)

// Finding is one thing that an assessment found.
type Finding struct {
	Level    Level  `json:"level"`
	Subject  string `json:"subject"`
	Evidence string `json:"evidence"` // what was seen
	Action   string `json:"action"`   // what to do
}

// Assessment is an app's readiness to leave.
type Assessment struct {
	App      string    `json:"app"`
	Seen     string    `json:"seen"`     // how much traffic it rests on
	Findings []Finding `json:"findings"` // heaviest first
}

// Blocked reports whether a blocker was found.
func (a Assessment) Blocked() bool {
	return slices.ContainsFunc(a.Findings, func(f Finding) bool { return f.Level == Blocker })
}

// sdk is what is known of a client SDK that names itself so.
type sdk struct {
	word  string // in the "client" parameter, in lower case
	name  string
	level Level
	host  string // how its host is changed
}

// sdks lists the vendor's client SDKs by how they name themselves. The first
// match counts.
var sdks = []sdk{
	{"flutter", "pusher-channels-flutter", Blocker,
		"its public API takes a cluster but no host: patch it or use another package, and start now, as an app release is needed"},
	{"react", "React Native", Risk, "host, wsPort and wssPort in init, in recent versions: check the one that is installed; needs an app release"},
	{"java", "Java or Android, which Flutter on Android also says", Risk,
		"setHost, setWsPort, setWssPort after setCluster; needs an app release. If it is Flutter, it is a blocker"},
	{"swift", "Swift, which Flutter on iOS also says", Risk,
		"PusherClientOptions(host: .host(…)); needs an app release. If it is Flutter, it is a blocker"},
	{"libpusher", "libPusher", Risk, "its host option; needs an app release"},
	{"dotnet", ".NET", Note, "PusherOptions.Host, which may hold host:port"},
	{"ruby", "Ruby", Note, "ws_host and ws_port"},
	{"python", "Python (Pysher)", Note, "custom_host"},
	{"pysher", "Python (Pysher)", Note, "custom_host"},
	{"js", "pusher-js or Laravel Echo", Note,
		"wsHost, wsPort, wssPort, and httpHost, httpPort for the fallbacks, which otherwise go to the vendor; cluster stays mandatory"},
}

// advice says what to do about a feature.
var advice = map[string]Finding{
	inventory.FeaturePresence:     {Risk, "", "", "move presence rules whole, by channel, so that no room is split; decide this before canary"},
	inventory.FeatureEncrypted:    {Note, "", "", "payloads pass unread: nothing to do; comparisons are by bytes"},
	inventory.FeatureCache:        {Note, "", "", "served by the engine with the same 30 minutes; check the fidelity table of a candidate backend"},
	inventory.FeatureServerToUser: {Risk, "", "", "needs user sign-in on the same side; few other backends have it: see the fidelity table"},
	inventory.FeatureClientEvents: {Note, "", "", "served by the engine; switch client_events on in the configuration"},
	inventory.FeatureExclusion:    {Note, "", "", "socket ids are the gateway's once clients are served by it; the HTTP API must go through it too"},
	inventory.FeatureBatch:        {Note, "", "", "served by the engine"},
	inventory.FeatureQueries:      {Note, "", "", "point the servers that ask at the gateway, before cutover"},
	inventory.FeatureTerminate:    {Note, "", "", "served by the engine"},
	inventory.FeatureSignin:       {Note, "", "", "the user authentication endpoint stays as it is"},
	inventory.FeatureFallback:     {Risk, "", "", "set httpHost and httpPort beside wsHost, or these clients drift back to the vendor"},
}

// runtimeHost makes this release of the clients the last that a change of host
// asks for.
var runtimeHost = Finding{Note, "host at run time", "every client above needs a release for its new host",
	"have that release fetch GET /client-config/KEY from the gateway when it starts: the next change of host needs none"}

// vendorEventBytes is the vendor's documented limit of an event's data.
const vendorEventBytes = 10240

// Assess weighs what an app was seen to use.
func Assess(d inventory.Document) Assessment {
	a := Assessment{App: d.App, Seen: seen(d)}
	if d.To.IsZero() {
		a.Findings = []Finding{{Risk, "no traffic", "nothing was seen yet",
			"put the gateway in front of the app (stage observe) and come back"}}
		return a
	}
	a.Findings = append(a.Findings, clientFindings(d)...)
	if len(d.Clients) > 0 {
		a.Findings = append(a.Findings, runtimeHost)
	}
	for _, f := range d.Features {
		finding := advice[f.Name]
		finding.Subject = f.Name
		finding.Evidence = fmt.Sprintf("%d times, last on %s", f.Count, f.LastSeen.UTC().Format("2 Jan 2006"))
		a.Findings = append(a.Findings, finding)
	}
	a.Findings = append(a.Findings, limitFindings(d)...)
	slices.SortStableFunc(a.Findings, func(x, y Finding) int { return cmp.Compare(weight(x.Level), weight(y.Level)) })
	return a
}

func weight(l Level) int { return slices.Index([]Level{Blocker, Risk, Note}, l) }

func seen(d inventory.Document) string {
	if d.To.IsZero() {
		return "no traffic"
	}
	var events int64
	for _, e := range d.Events {
		events += e.Count
	}
	return fmt.Sprintf("%d events from %s to %s, at most %d connections at a time",
		events, d.From.UTC().Format("2 Jan 15:04"), d.To.UTC().Format("2 Jan 15:04"), d.Peaks.Connections)
}

func clientFindings(d inventory.Document) []Finding {
	var out []Finding
	for _, c := range d.Clients {
		f := Finding{Level: Risk, Subject: "client " + strings.TrimSpace(c.Library+" "+c.Version),
			Evidence: fmt.Sprintf("%d connections, last on %s", c.Connections, c.LastSeen.UTC().Format("2 Jan 2006")),
			Action:   "not an SDK that is known here: find out how its host is changed"}
		for _, s := range sdks {
			if strings.Contains(strings.ToLower(c.Library), s.word) {
				f.Level, f.Action = s.level, s.name+": "+s.host
				break
			}
		}
		out = append(out, f)
	}
	return out
}

func limitFindings(d inventory.Document) []Finding {
	var out []Finding
	for _, c := range d.Channels {
		if c.BytesMax > vendorEventBytes {
			out = append(out, Finding{Risk, "large events on " + c.Pattern,
				fmt.Sprintf("up to %d bytes, above the documented %d", c.BytesMax, vendorEventBytes),
				fmt.Sprintf("set limits.event_bytes to at least %d, and check the limit of a candidate backend", c.BytesMax)})
		}
	}
	if p := d.Peaks.ClientEventsPerSecond; p > 10 {
		out = append(out, Finding{Risk, "client event rate", fmt.Sprintf("up to %d a second on one connection, above the documented 10", p),
			"set limits.client_events_per_second accordingly"})
	}
	for _, r := range d.Refusals {
		if r.Code == 4004 || r.Code == 403 {
			out = append(out, Finding{Risk, "over quota", fmt.Sprintf("%d times: %s", r.Count, r.Text),
				"the vendor turns traffic away already: its loss is not the candidate's"})
		}
	}
	return out
}
