package report

import (
	"encoding/xml"
	"fmt"
	"io"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Failure *message `xml:"failure"`
	Skipped *message `xml:"skipped"`
}

type message struct {
	Message string `xml:"message,attr"`
}

// WriteJUnit writes the report as JUnit's XML: a test case per pair and gate,
// failed where the gate failed, and skipped where it cannot be judged yet.
func WriteJUnit(w io.Writer, r *Report) error {
	suite := junitSuite{Name: "offramp shadow " + r.Run.App}
	for _, p := range r.Pairs {
		for _, gate := range pairGates() {
			suite.add(junitOf(r, p.Reference, p.Candidate, gate))
		}
	}
	for _, gate := range runGates() {
		suite.add(junitOf(r, "", "", gate))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write junit report: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return fmt.Errorf("write junit report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Skipped != nil {
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func junitOf(r *Report, reference, candidate, gate string) junitCase {
	c := junitCase{Class: r.Run.App, Name: gate}
	if candidate != "" {
		c.Class += "." + reference + "-" + candidate
	}
	for _, x := range r.Verdict.Reasons {
		if x.Gate == gate && x.Reference == reference && x.Candidate == candidate {
			c.Failure = &message{Message: x.Text}
			return c
		}
	}
	for _, x := range r.Verdict.Insufficient {
		if x.Gate == gate && x.Reference == reference && x.Candidate == candidate {
			c.Skipped = &message{Message: x.Text}
		}
	}
	return c
}
