package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/shadow"
)

// Build returns the report on evidence, judged by gates.
func Build(ev shadow.Evidence, g Gates, meta Meta) *Report {
	r := &Report{
		Schema: Schema,
		Run: Run{
			App: ev.App, From: ev.From, To: ev.To, Stage: ev.Stage.String(), Legs: []string{},
			Nodes: ev.Nodes, MissingNodes: ev.Missing,
			ConfigDigest: meta.ConfigDigest, GatewayVersion: meta.GatewayVersion, Generated: meta.Generated,
		},
		Coverage:    coverage(&ev, &meta),
		Gates:       g.withDefaults(),
		Pairs:       []Pair{},
		Measurement: measurement(ev.Health),
	}
	for _, leg := range ev.Legs() {
		r.Run.Legs = append(r.Run.Legs, string(leg))
	}
	for _, p := range ev.Pairs {
		r.Pairs = append(r.Pairs, buildPair(p))
	}
	r.Exhibits = r.exhibits(ev.Exhibits)
	r.Name("report.json")
	r.Accept(meta.Rules)
	return r
}

// coverage says how much was seen. Of clients the vendor's webhooks tell:
// whose arrival as a member they told, and who of them came through here.
func coverage(ev *shadow.Evidence, meta *Meta) Coverage {
	c := Coverage{PublishPath: share(ev.Coverage.Published, ev.Coverage.Delivered), Clients: meta.Clients, Webhooks: ev.Coverage.Webhooks}
	if c.Clients != nil || len(ev.Nodes) > 0 {
		return c // a node of a cluster does not know whom the others relay
	}
	var relayed, all int64
	for _, p := range ev.Pairs {
		for i := range p.Cells {
			if hook, ok := shadow.Webhooked(p.Cells[i].Key); ok && hook == proxy.WebhookMemberAdded {
				h := &p.Cells[i].Counts.Webhooks
				relayed += h.Matched + h.Missing
				all += h.Matched + h.Missing + h.Foreign
			}
		}
	}
	c.Clients, c.ClientsOf = share(relayed, all), all
	return c
}

func share(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	s := float64(part) / float64(whole)
	return &s
}

func measurement(h shadow.Health) Measurement {
	m := Measurement{
		Records: h.Records, Shed: h.Shed, Overflow: h.Overflow, Gaps: h.Gaps, Open: h.Open,
		LagMS: milliseconds(h.Lag),
	}
	if h.Records > 0 {
		m.ShedRate = float64(h.Shed) / float64(h.Records)
	}
	return m
}

// sums are the counts and latencies of one cell over the whole run.
type sums struct {
	counts  shadow.Counts
	latency shadow.Latency
	blocks  blocks
	hooks   shadow.Clusters // of webhooks
}

func newSums() *sums { return &sums{blocks: make(blocks)} }

func (s *sums) add(c *shadow.Cell) {
	s.counts.Add(&c.Counts)
	s.latency.Add(c.Latency)
	s.blocks.add(c)
	h := &c.Counts.Webhooks
	s.hooks.Observe(h.Matched+h.Missing+h.Extra, h.Missing+h.Extra)
}

func buildPair(p shadow.Pair) Pair {
	out := Pair{
		Reference: string(p.Reference), Candidate: string(p.Candidate),
		Cells: []Cell{}, Timeline: timeline(p.Cells), Presence: []Presence{}, Decisions: []Decision{},
		Webhooks: []Webhooks{}, Structures: []Structures{}, Publishers: []Group{}, Libraries: []Group{},
	}
	total := newSums()
	byKey := make(map[shadow.Key]*sums)
	for i := range p.Cells {
		c := &p.Cells[i]
		s := byKey[c.Key]
		if s == nil {
			s = newSums()
			byKey[c.Key] = s
		}
		s.add(c)
		total.add(c)
	}
	for key, s := range byKey {
		if !out.facet(key, s) && shadow.IsTraffic(key) {
			out.Cells = append(out.Cells, buildCell(key, s))
		}
	}
	slices.SortFunc(out.Cells, worstFirst)
	slices.SortFunc(out.Presence, func(a, b Presence) int {
		return cmp.Or(cmp.Compare(b.MeanDivergence, a.MeanDivergence), cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Type, b.Type))
	})
	slices.SortFunc(out.Decisions, decisionsFirst)
	slices.SortFunc(out.Webhooks, webhooksFirst)
	slices.SortFunc(out.Structures, structuresFirst)
	out.Total = buildCell(shadow.Key{Type: "*", Pattern: "*", Event: "*"}, total)
	out.Curve = curve(&total.latency)
	return out
}

func buildPresence(key shadow.Key, p *shadow.Presence) Presence {
	out := Presence{
		Type: key.Type, Pattern: key.Pattern, Seconds: p.Seconds, Episodes: p.Episodes, LongestS: p.Longest,
		Ghosts: p.Ghosts, MissedJoins: p.MissedJoins, MissedLeaves: p.MissedLeaves, EarlyLeaves: p.EarlyLeaves, Unknown: p.Unknown,
	}
	if p.Seconds > 0 {
		out.MeanDivergence = p.Divergence / p.Seconds
	}
	return out
}

func buildDecisions(key shadow.Key, action string, both map[string]int64) []Decision {
	out := make([]Decision, 0, len(both))
	for text, n := range both {
		reference, candidate := shadow.SplitDecision(text)
		out = append(out, Decision{
			Action: action, Type: key.Type, Pattern: key.Pattern, Reference: reference, Candidate: candidate, Count: n,
		})
	}
	return out
}

// decisionsFirst orders decisions: those that differ first, then by number.
func decisionsFirst(a, b Decision) int {
	order := func(d *Decision) int {
		if d.differs() {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(order(&a), order(&b)), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Action, b.Action),
		cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Reference, b.Reference), cmp.Compare(a.Candidate, b.Candidate))
}

// worstFirst orders cells by what hurts most.
func worstFirst(a, b Cell) int {
	return cmp.Or(
		cmp.Compare(b.Missing, a.Missing),
		cmp.Compare(b.PayloadDiffers, a.PayloadDiffers),
		cmp.Compare(b.Duplicate+b.Reordered+b.Extra, a.Duplicate+a.Reordered+a.Extra),
		cmp.Compare(b.Unknown, a.Unknown),
		cmp.Compare(b.Expected, a.Expected),
		cmp.Compare(a.Pattern, b.Pattern),
		cmp.Compare(a.Event, b.Event),
		cmp.Compare(a.Type, b.Type),
	)
}

func buildCell(key shadow.Key, s *sums) Cell {
	c := &s.counts
	cell := Cell{
		Type: key.Type, Pattern: key.Pattern, Event: key.Event,
		Expected: c.Expected, Matched: c.Matched, Missing: c.Missing, Duplicate: c.Duplicate, Reordered: c.Reordered,
		PayloadDiffers: c.PayloadDiffers, Unknown: c.Unknown, Extra: c.Extra, Rejected: c.Rejected, Affected: c.Affected,
		Loss:    lossOf(c),
		Dup:     Rates{Reference: rate(c.ReferenceDuplicate, c.Expected), Candidate: rate(c.Duplicate, c.Expected)},
		Reorder: ReorderRates{Rates: Rates{Reference: rate(c.ReferenceReordered, c.Expected), Candidate: rate(c.Reordered, c.Expected)}, MaxDisplacement: c.MaxDisplacement},
		Payload: Payload{Real: c.PayloadDiffers - c.SameJSON, Signatures: c.Signatures},
		Noise:   Noise{Siblings: c.Siblings, Missing: c.SiblingMissing, Reordered: c.SiblingReordered},
	}
	cell.Reorder.Noise = rate(c.SiblingReordered, c.Siblings)
	if n := float64(c.Siblings); n > 0 {
		low, high := lowerBound(float64(c.SiblingReordered), n), upperBound(float64(c.SiblingReordered), n)
		cell.Reorder.NoiseLow, cell.Reorder.NoiseHigh = &low, &high
	}
	arrived := c.Matched + c.PayloadDiffers
	cell.Payload.BytesEqual, cell.Payload.JSONEqual = rate(c.Matched, arrived), rate(c.Matched+c.SameJSON, arrived)
	cell.Latency = LatencyMS{
		Reference:   s.blocks.percentiles(s.latency.Reference, referenceDelays),
		Candidate:   s.blocks.percentiles(s.latency.Candidate, candidateDelays),
		PairedDelta: s.blocks.paired(&s.latency),
	}
	return cell
}

func lossOf(c *shadow.Counts) Loss {
	return boundLoss(c.Expected, c.Missing, c.ReferenceMissing, c.Clusters)
}

func boundLoss(expected, missing, referenceMissing int64, clusters shadow.Clusters) Loss {
	l := Loss{
		Reference: rate(referenceMissing, expected), Candidate: rate(missing, expected),
		ReferenceMissing: referenceMissing, Deff: designEffect(expected, missing, clusters), Clusters: clusters,
	}
	l.NEff = float64(expected) / l.Deff
	if expected > 0 {
		upper := differenceUpper(measured{float64(missing) / l.Deff, l.NEff, float64(referenceMissing) / l.Deff, l.NEff})
		l.DiffUpper95 = &upper
	}
	return l
}

func rate(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// curve returns the latency quantiles of both legs, dense towards the tail.
func curve(l *shadow.Latency) []Quantile {
	if l.Reference == nil && l.Candidate == nil {
		return []Quantile{}
	}
	var out []Quantile
	for _, q := range [...]float64{0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1} {
		out = append(out, Quantile{Q: q, Reference: quantile(l.Reference, q), Candidate: quantile(l.Candidate, q)})
	}
	return out
}

func quantile(h *hdrhistogram.Histogram, q float64) float64 {
	if h == nil {
		return 0
	}
	return float64(h.ValueAtQuantile(100*q)) / 1000
}
