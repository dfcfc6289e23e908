package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// Sizes of a chart, in SVG user units.
const (
	chartWidth  = 520.0
	chartHeight = 180.0
	marginLeft  = 58.0
	marginRight = 16.0
	marginTop   = 12.0
	marginBelow = 26.0
)

// svg builds one chart. Colours are the page's classes, so that the chart
// follows its light and dark settings.
type svg struct{ b strings.Builder }

func newSVG(label string, height float64) *svg {
	s := new(svg)
	s.printf(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, height, template.HTMLEscapeString(label))
	return s
}

func (s *svg) printf(format string, args ...any) { fmt.Fprintf(&s.b, format, args...) }

func (s *svg) line(class string, x1, y1, x2, y2 float64) {
	s.printf(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

func (s *svg) rect(class string, x, y, w, h float64, title string) {
	s.printf(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>`,
		class, x, y, max(w, 0), max(h, 0), template.HTMLEscapeString(title))
}

func (s *svg) text(anchor string, x, y float64, text string) {
	s.printf(`<text text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, anchor, x, y, template.HTMLEscapeString(text))
}

func (s *svg) path(class string, points [][2]float64) {
	if len(points) == 0 {
		return
	}
	s.printf(`<path class="%s" d="`, class)
	for i, p := range points {
		s.printf("%s%.1f %.1f ", map[bool]string{true: "M", false: "L"}[i == 0], p[0], p[1])
	}
	s.b.WriteString(`"/>`)
	if len(points) == 1 {
		s.printf(`<circle class="%s dot" cx="%.1f" cy="%.1f" r="3"/>`, class, points[0][0], points[0][1])
	}
}

func (s *svg) done() template.HTML {
	s.b.WriteString(`</svg>`)
	return template.HTML(s.b.String()) //nolint:gosec // built here, texts escaped
}

// axis maps values onto a stretch of the chart.
type axis struct {
	low, high float64 // values
	from, to  float64 // units
	log       bool
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(max(v, a.low))
	}
	if high == low {
		return a.from
	}
	return a.from + (min(v, high)-low)/(high-low)*(a.to-a.from)
}

// times returns the time axis of a timeline, and draws its labels.
func (s *svg) times(p Pair, height float64) axis {
	first, last := p.Timeline[0].Start, p.Timeline[len(p.Timeline)-1]
	end := last.Start.Add(seconds(last.Seconds))
	a := axis{low: float64(first.Unix()), high: float64(end.Unix()), from: marginLeft, to: chartWidth - marginRight}
	layout := "15:04"
	if end.Sub(first) < 5*time.Minute {
		layout = "15:04:05"
	}
	if end.Sub(first) > 36*time.Hour {
		layout = "2 Jan"
	}
	labels := min(5, max(1, end.Sub(first)/time.Second))
	for i := range labels + 1 {
		t := first.Add(end.Sub(first) * i / labels)
		anchor := "middle"
		if i == labels {
			anchor = "end"
		}
		s.text(anchor, a.at(float64(t.Unix())), height-8, t.UTC().Format(layout))
	}
	return a
}

func seconds(v float64) time.Duration { return time.Duration(v * float64(time.Second)) }

// trafficChart shows how many events were compared over time, and which of
// them were found faulty or could not be seen.
func trafficChart(p Pair) template.HTML {
	if len(p.Timeline) == 0 {
		return ""
	}
	s := newSVG("events compared over time", chartHeight)
	x := s.times(p, chartHeight)
	top := 1.0
	for _, iv := range p.Timeline {
		top = max(top, float64(iv.Expected+iv.Unknown))
	}
	y := axis{low: 0, high: top, from: chartHeight - marginBelow, to: marginTop}
	s.grid(y, []float64{0, top / 2, top}, number)
	for _, iv := range p.Timeline {
		from := x.at(float64(iv.Start.Unix())) + 1
		width := x.at(float64(iv.Start.Unix())+iv.Seconds) - from - 1
		title := fmt.Sprintf("%s: %d compared, %d faulty, %d unknown", iv.Start.UTC().Format("2 Jan 15:04"), iv.Expected, iv.Faults, iv.Unknown)
		bottom := 0.0
		for _, part := range []struct {
			class string
			n     int64
		}{{"good", max(0, iv.Expected-iv.Faults)}, {"bad", min(iv.Faults, iv.Expected)}, {"unsure", iv.Unknown}} {
			if part.n == 0 {
				continue
			}
			height := float64(part.n)
			// A fault must be seen however rare it is.
			if part.class != "good" {
				height = max(height, top/60)
			}
			s.rect("fill-"+part.class, from, y.at(bottom+height), width, y.at(bottom)-y.at(bottom+height), title)
			bottom += height
		}
	}
	return s.done()
}

func (s *svg) grid(y axis, at []float64, label func(float64) string) {
	for _, v := range at {
		s.line("grid", marginLeft, y.at(v), chartWidth-marginRight, y.at(v))
		s.text("end", marginLeft-6, y.at(v)+4, label(v))
	}
}

// lossChart shows the upper bound of the loss sinking as evidence comes in,
// against the gate.
func lossChart(p Pair, g Gates) template.HTML {
	if len(p.Timeline) == 0 {
		return ""
	}
	gate := limit(g.Loss)
	s := newSVG("loss and its 95 % bound over time, against the gate", chartHeight)
	x := s.times(p, chartHeight)
	low := 1e-6
	if gate > 0 {
		low = min(low, gate/10)
	}
	y := axis{low: low, high: 1, from: chartHeight - marginBelow, to: marginTop, log: true}
	var ticks []float64
	for v := 1.0; v >= low*0.99; v /= 100 {
		ticks = append(ticks, v)
	}
	s.grid(y, ticks, percent)
	var bound, loss [][2]float64
	var expected, missing int64
	for _, iv := range p.Timeline {
		at := x.at(float64(iv.Start.Unix()) + iv.Seconds)
		expected, missing = expected+iv.Expected, missing+iv.Missing
		bound = append(bound, [2]float64{at, y.at(iv.Upper95)})
		loss = append(loss, [2]float64{at, y.at(rate(missing, expected))})
	}
	s.path("curve-bound", bound)
	s.path("curve-cand", loss)
	s.line("gate", marginLeft, y.at(gate), chartWidth-marginRight, y.at(gate))
	return s.done()
}

// latencyChart shows the latency of both legs by percentile.
func latencyChart(p Pair) template.HTML {
	if len(p.Curve) == 0 {
		return ""
	}
	s := newSVG("latency of both legs by percentile", chartHeight)
	low, high := math.Inf(1), 1.0
	for _, q := range p.Curve {
		for _, v := range []float64{q.Reference, q.Candidate} {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	low = math.Pow(10, math.Floor(math.Log10(min(max(low, 1e-3), 1))))
	high = math.Pow(10, math.Ceil(math.Log10(high*1.01)))
	y := axis{low: low, high: high, from: chartHeight - marginBelow, to: marginTop, log: true}
	var ticks []float64
	for v := low; v <= high*1.01; v *= 10 {
		ticks = append(ticks, v)
	}
	s.grid(y, ticks, func(v float64) string { return fmt.Sprintf("%g ms", v) })
	step := (chartWidth - marginLeft - marginRight) / float64(len(p.Curve)-1)
	var ref, cand [][2]float64
	for i, q := range p.Curve {
		at := marginLeft + float64(i)*step
		s.text("middle", at, chartHeight-8, percentile(q.Q))
		if q.Reference > 0 {
			ref = append(ref, [2]float64{at, y.at(q.Reference)})
		}
		if q.Candidate > 0 {
			cand = append(cand, [2]float64{at, y.at(q.Candidate)})
		}
	}
	s.path("curve-ref", ref)
	s.path("curve-cand", cand)
	return s.done()
}

func percentile(q float64) string {
	switch q {
	case 0:
		return "min"
	case 1:
		return "max"
	default:
		return fmt.Sprintf("p%g", math.Round(q*1000)/10)
	}
}

// stripHeight is the height of the presence strip.
const stripHeight = 70.0

// presenceStrip shows the presence divergence over time.
func presenceStrip(p Pair) template.HTML {
	if len(p.Timeline) == 0 {
		return ""
	}
	top := 0.01
	for _, iv := range p.Timeline {
		if iv.Divergence != nil {
			top = max(top, *iv.Divergence)
		}
	}
	s := newSVG("presence divergence over time", stripHeight)
	x := s.times(p, stripHeight)
	y := axis{low: 0, high: top, from: stripHeight - marginBelow, to: marginTop}
	s.grid(y, []float64{0, top}, percent)
	for _, iv := range p.Timeline {
		if iv.Divergence == nil {
			continue
		}
		from := x.at(float64(iv.Start.Unix()))
		height := max(1, y.at(0)-y.at(*iv.Divergence))
		class := "fill-good"
		if *iv.Divergence > 0 {
			class = "fill-bad"
		}
		s.rect(class, from, y.at(0)-height, x.at(float64(iv.Start.Unix())+iv.Seconds)-from, height,
			fmt.Sprintf("%s: %s of the members differ", iv.Start.UTC().Format("2 Jan 15:04"), percent(*iv.Divergence)))
	}
	return s.done()
}

// Bounds of the heat map.
const (
	heatRows   = 20
	heatHeight = 20.0
	heatLeft   = 170.0
)

// heatMap shows which pattern was faulty when.
func heatMap(p Pair) template.HTML {
	rows := heatPatterns(p)
	if len(rows) == 0 {
		return ""
	}
	height := marginTop + heatHeight*float64(len(rows)) + marginBelow
	s := newSVG("faults by channel pattern and time", height)
	width := (chartWidth - heatLeft - marginRight) / float64(len(p.Timeline))
	for r, pattern := range rows {
		top := marginTop + heatHeight*float64(r)
		s.text("end", heatLeft-8, top+14, clipMiddle(pattern, 25))
		for i, iv := range p.Timeline {
			for _, cell := range iv.Patterns {
				if cell.Pattern == pattern {
					s.rect(heatClass(cell), heatLeft+width*float64(i)+0.5, top+1, width-1, heatHeight-2,
						fmt.Sprintf("%s, %s: %d compared, %d faulty, %d unknown", pattern, iv.Start.UTC().Format("2 Jan 15:04"),
							cell.Expected, cell.Faults, cell.Unknown))
				}
			}
		}
	}
	first, last := p.Timeline[0].Start, p.Timeline[len(p.Timeline)-1]
	s.text("start", heatLeft, height-8, first.UTC().Format("2 Jan 15:04"))
	s.text("end", chartWidth-marginRight, height-8, last.Start.Add(seconds(last.Seconds)).UTC().Format("2 Jan 15:04"))
	return s.done()
}

// heatPatterns returns the patterns to show, in order of their cells: worst
// first.
func heatPatterns(p Pair) []string {
	var rows []string
	seen := make(map[string]bool)
	for _, c := range p.Cells {
		if !seen[c.Pattern] && len(rows) < heatRows {
			seen[c.Pattern] = true
			rows = append(rows, c.Pattern)
		}
	}
	return rows
}

// heatClass grades a stretch by its share of faults, in powers of ten.
func heatClass(c PatternSpan) string {
	switch share := rate(c.Faults, c.Expected); {
	case c.Expected == 0 && c.Faults == 0:
		return "fill-unsure"
	case c.Faults == 0:
		return "fill-good"
	case share < 1e-3:
		return "heat-1"
	case share < 1e-2:
		return "heat-2"
	case share < 1e-1:
		return "heat-3"
	default:
		return "heat-4"
	}
}
