package report

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/offramp/offramp/shadow"
)

// Schema names the version of the JSON form.
const Schema = "offramp.report/v1"

//go:embed report.schema.json
var schemaJSON []byte

// SchemaJSON returns the JSON Schema of the JSON form.
func SchemaJSON() []byte { return slices.Clone(schemaJSON) }

// maxReport bounds a report that is read back.
const maxReport = 256 << 20

// Report is a comparison with its verdict. Its JSON form is the source of
// every other form.
type Report struct {
	Schema      string      `json:"schema"`
	Run         Run         `json:"run"`
	Coverage    Coverage    `json:"coverage"`
	Verdict     Verdict     `json:"verdict"`
	Gates       Gates       `json:"gates"`
	Pairs       []Pair      `json:"pairs"`
	Measurement Measurement `json:"measurement"`
	Exhibits    []Exhibit   `json:"exhibits"`
	// Exceptions are the ignore rules that were in force, and what they hid.
	Exceptions []Exception `json:"exceptions"`
	// Suggestions are ignore rules that a person might accept.
	Suggestions []Rule `json:"suggestions"`
}

// Run says what was compared, when, and by what.
type Run struct {
	App            string    `json:"app"`
	From           time.Time `json:"from"` // first minute with evidence
	To             time.Time `json:"to"`   // end of the last
	Stage          string    `json:"stage"`
	Legs           []string  `json:"legs"`
	Nodes          []string  `json:"nodes,omitempty"`         // of a cluster: whose evidence it is
	MissingNodes   []string  `json:"missing_nodes,omitempty"` // nodes that live and whose evidence is not in it, and why
	ConfigDigest   string    `json:"config_digest,omitempty"`
	RulesDigest    string    `json:"ignore_rules_digest,omitempty"`
	GatewayVersion string    `json:"gateway_version,omitempty"`
	Generated      time.Time `json:"generated"`
}

// Meta is what the caller knows of the run and the evidence does not.
type Meta struct {
	ConfigDigest   string
	GatewayVersion string
	Generated      time.Time
	// Clients is the share of clients that come through the gateway, 0..1;
	// nil when nobody measured it.
	Clients *float64
	// Rules are differences that somebody accepted.
	Rules []Rule
}

// Coverage says how much of the traffic was seen.
type Coverage struct {
	// PublishPath is the share of delivered events whose publish passed the
	// gateway; null when nothing was delivered.
	PublishPath *float64 `json:"publish_path"`
	// Clients is the share of clients that come through the gateway; null
	// when nobody measured it.
	Clients *float64 `json:"clients"`
	// ClientsOf is of how many that is the share: arrivals of members that the
	// vendor's webhooks told of. 0: Clients was measured elsewhere.
	ClientsOf int64 `json:"clients_of,omitempty"`
	// Webhooks of the vendor that came in here; 0: nothing is known of them.
	Webhooks int64 `json:"webhooks"`
}

// Pair is one candidate beside one reference.
type Pair struct {
	Reference string     `json:"reference"`
	Candidate string     `json:"candidate"`
	Total     Cell       `json:"total"`
	Cells     []Cell     `json:"cells"`    // worst first
	Timeline  []Interval `json:"timeline"` // the pair's counts over time
	Curve     []Quantile `json:"latency_curve"`
	Presence  []Presence `json:"presence"`
	Decisions []Decision `json:"decisions"`
	// What is counted beside events; each worst first.
	Webhooks   []Webhooks   `json:"webhooks"`
	Structures []Structures `json:"structures"`
	Publishers []Group      `json:"by_publisher"`
	Libraries  []Group      `json:"by_client_library"`
}

// Cell is the comparison of one kind of traffic over the whole run.
type Cell struct {
	Type    string `json:"type"`
	Pattern string `json:"pattern"`
	Event   string `json:"event"`

	Expected       int64            `json:"expected"`
	Matched        int64            `json:"matched"`
	Missing        int64            `json:"missing"`
	Duplicate      int64            `json:"duplicate"`
	Reordered      int64            `json:"reordered"`
	PayloadDiffers int64            `json:"payload_differs"`
	Unknown        int64            `json:"unknown"`
	Extra          int64            `json:"extra"`
	Rejected       map[string]int64 `json:"rejected,omitempty"`
	Affected       int64            `json:"affected"` // deliveries to clients that the missing events would have been

	// Accepted are the findings that ignore rules excuse, by name.
	Accepted map[string]int64 `json:"accepted,omitempty"`

	Loss    Loss         `json:"loss"`
	Dup     Rates        `json:"dup"`
	Reorder ReorderRates `json:"reorder"`
	Payload Payload      `json:"payload"`
	Latency LatencyMS    `json:"latency_ms"`
	Noise   Noise        `json:"noise"`
}

// Loss is the share of expected events that were not delivered.
type Loss struct {
	Reference   float64  `json:"ref"`
	Candidate   float64  `json:"cand"`
	DiffUpper95 *float64 `json:"diff_upper95"` // upper bound of candidate minus reference; null: no data
	Deff        float64  `json:"deff"`         // design effect: how far losses come in clusters
	NEff        float64  `json:"n_eff"`        // expected events divided by it
	// ReferenceMissing is the count behind Reference.
	ReferenceMissing int64 `json:"ref_missing"`
	// Clusters are the sums behind Deff.
	Clusters shadow.Clusters `json:"clusters"`
}

// Rates is one rate on both legs.
type Rates struct {
	Reference float64 `json:"ref"`
	Candidate float64 `json:"cand"`
}

// ReorderRates are the shares of events out of order. Noise is how far the
// reference's own sockets disagree.
type ReorderRates struct {
	Rates
	Noise float64 `json:"noise"`
	// One-sided 95 % bounds of Noise; nil when no two sockets were watched.
	NoiseLow        *float64 `json:"noise_low95,omitempty"`
	NoiseHigh       *float64 `json:"noise_high95,omitempty"`
	MaxDisplacement int64    `json:"max_displacement"`
}

// Payload says how the candidate's payloads compare.
type Payload struct {
	BytesEqual float64 `json:"bytes_equal"` // share with the same bytes
	JSONEqual  float64 `json:"json_equal"`  // share equal as JSON
	Real       int64   `json:"real"`        // events that differ as JSON too
	// Signatures are those by the JSON paths that differ.
	Signatures map[string]int64 `json:"signatures,omitempty"`
}

// Presence compares the member sets of presence channels of one pattern. The
// divergence of a channel at a moment is the share of members that are on one
// leg only.
type Presence struct {
	Type           string  `json:"type"`
	Pattern        string  `json:"pattern"`
	Seconds        float64 `json:"seconds"` // observed, summed over channels
	MeanDivergence float64 `json:"mean_divergence"`
	Episodes       int64   `json:"episodes"` // stretches beyond the grace
	LongestS       float64 `json:"longest_s"`
	Ghosts         int64   `json:"ghosts"`
	MissedJoins    int64   `json:"missed_joins"`
	MissedLeaves   int64   `json:"missed_leaves"`
	EarlyLeaves    int64   `json:"early_leaves"`
	Unknown        int64   `json:"unknown"`
}

// Decision is a cell of the table of what both legs decided on the same
// questions: subscriptions, and calls of the HTTP API.
type Decision struct {
	Action    string `json:"action"`
	Type      string `json:"type"`
	Pattern   string `json:"pattern"`
	Reference string `json:"ref"` // "allow", or "deny" with a code
	Candidate string `json:"cand"`
	Count     int64  `json:"count"`
}

// differs reports whether one leg allowed what the other refused.
func (d *Decision) differs() bool { return (d.Reference == allow) != (d.Candidate == allow) }

const allow = "allow"

// Noise is the reference against itself: two of its sockets on one channel.
type Noise struct {
	Siblings  int64 `json:"siblings"`
	Missing   int64 `json:"missing"`
	Reordered int64 `json:"reordered"`
}

// LatencyMS holds times from publish to delivery, in milliseconds; null where
// nothing was timed.
type LatencyMS struct {
	Reference   *Percentiles `json:"ref"`
	Candidate   *Percentiles `json:"cand"`
	PairedDelta *Percentiles `json:"paired_delta"` // candidate minus reference, same event
}

// Percentiles of a distribution.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// How sure that is; nil in reports of older versions.
	P50Bounds *Bounds `json:"p50_bounds,omitempty"`
	P95Bounds *Bounds `json:"p95_bounds,omitempty"`
	P99Bounds *Bounds `json:"p99_bounds,omitempty"`
}

// Bounds are one-sided 95 % confidence bounds of a percentile, in
// milliseconds; nil where there is too little to say.
type Bounds struct {
	Low  *float64 `json:"low95"`
	High *float64 `json:"high95"`
	NEff float64  `json:"n_eff"` // events timed, divided by the design effect
}

// Quantile is one point of the latency curves, in milliseconds.
type Quantile struct {
	Q         float64 `json:"q"`
	Reference float64 `json:"ref"`
	Candidate float64 `json:"cand"`
}

// Interval is a stretch of the timeline.
type Interval struct {
	Start    time.Time     `json:"start"`
	Seconds  float64       `json:"seconds"`
	Patterns []PatternSpan `json:"patterns"`
	Expected int64         `json:"expected"`
	Missing  int64         `json:"missing"`
	Faults   int64         `json:"faults"` // missing, duplicate, reordered and altered together
	Unknown  int64         `json:"unknown"`
	// Upper95 is the upper bound of the loss difference from the start of the
	// run to the end of this stretch.
	Upper95 float64 `json:"loss_upper95"`
	// Divergence is the mean presence divergence; null when none was observed.
	Divergence *float64 `json:"presence_divergence"`
}

// PatternSpan is one pattern's share of an Interval.
type PatternSpan struct {
	Pattern  string `json:"pattern"`
	Expected int64  `json:"expected"`
	Faults   int64  `json:"faults"`
	Unknown  int64  `json:"unknown"`
}

// Measurement is the comparison's account of itself.
type Measurement struct {
	Records  int64   `json:"records"`
	Shed     int64   `json:"shed"`
	ShedRate float64 `json:"shed_rate"`
	Overflow int64   `json:"overflow"`
	Gaps     int64   `json:"gaps"`
	Open     int64   `json:"open"`
	LagMS    float64 `json:"lag_ms"`
}

// Exhibit is one finding, event by event.
type Exhibit struct {
	ID        string    `json:"id"`
	Finding   string    `json:"finding"`
	Reference string    `json:"reference"`
	Candidate string    `json:"candidate"`
	Channel   string    `json:"channel"`
	Pattern   string    `json:"pattern"`
	Event     string    `json:"event"`
	EventID   string    `json:"event_id,omitempty"`
	At        time.Time `json:"at"`
	Before    *Frame    `json:"ref_frame"`
	After     *Frame    `json:"cand_frame"`
	Note      string    `json:"note,omitempty"`
	// Frames are what happened on the channel around the finding, in order.
	Frames []Step `json:"frames"`
	// Replay is the command that plays the exhibit on this machine.
	Replay string `json:"replay"`
}

// Step is one event published, one delivery of it, or what else its kind says.
type Step struct {
	Leg     string `json:"leg,omitempty"`  // where it happened; absent: an event was published
	Kind    string `json:"kind,omitempty"` // shadow.StepMember and its like; absent: an event
	Event   string `json:"event"`
	EventID string `json:"event_id,omitempty"`
	User    string `json:"user,omitempty"`    // keyed hash of a user's id
	Text    string `json:"text,omitempty"`    // of a publish, the candidate's answer; a decision, a webhook's type, a frame's structure
	Subject bool   `json:"subject,omitempty"` // it is what the finding is about
	Frame
}

// Frame is what one leg delivered, redacted.
type Frame struct {
	At     time.Time `json:"at"`
	Bytes  int       `json:"bytes"`
	Digest string    `json:"digest"`
	Shape  string    `json:"shape,omitempty"`
}

// WriteJSON writes the report's JSON form.
func WriteJSON(w io.Writer, r *Report) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Read reads a report of at most 256 MiB: its JSON form, or its HTML form,
// which has the JSON form in it.
func Read(r io.Reader) (*Report, error) {
	text := bufio.NewReader(io.LimitReader(r, maxReport))
	if first, err := text.Peek(1); err == nil && first[0] == '<' {
		if err := skipTo(text, dataMark); err != nil {
			return nil, fmt.Errorf("read report: %w", err)
		}
	}
	var out Report
	if err := json.NewDecoder(text).Decode(&out); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if out.Schema != Schema {
		return nil, fmt.Errorf("read report: its schema is %q, this version reads %q", out.Schema, Schema)
	}
	return &out, nil
}
