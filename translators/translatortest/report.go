package translatortest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/offramp/offramp/translators"
)

// WriteText writes what held, what did not, and what was skipped, for a
// terminal, and then the fidelity table.
func (r Report) WriteText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s %s\n\n", r.Description.Name, r.Description.Version)
	for _, result := range r.Results {
		detail := result.Rule
		if result.Outcome != Passed {
			detail = strings.ReplaceAll(result.Detail, "\n", "; ")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", result.Outcome, result.Suite, detail)
	}
	fmt.Fprintf(table, "\n%d passed, %d failed, %d skipped\n\n", r.count(Passed), r.count(Failed), r.count(Skipped))
	writeFidelity(table, r.Description)
	return table.Flush()
}

func writeFidelity(w io.Writer, d translators.Description) {
	for _, row := range FidelityRows(d) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", row[0], row[1], row[2])
	}
}

// FidelityRows returns a description as rows of feature, level and note; the
// last ones are its ordering, guarantee, echo control and limits.
func FidelityRows(d translators.Description) [][3]string {
	var rows [][3]string
	for _, feature := range translators.Features() {
		f := d.Features[feature]
		rows = append(rows, [3]string{string(feature), f.Level.String(), f.Note})
	}
	rows = append(rows, [3]string{"ordering", d.Ordering.String()}, [3]string{"guarantee", d.Guarantee.String()},
		[3]string{"echo control", d.Echo.String()})
	for _, bound := range d.Limits.Known() {
		rows = append(rows, [3]string{"limit", fmt.Sprintf("%.0f", bound.Value), bound.Of})
	}
	return rows
}

type junitSuites struct {
	XMLName xml.Name   `xml:"testsuites"`
	Suite   junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure"`
	Skipped *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
}

// WriteJUnit writes the results as JUnit XML.
func (r Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{
		Name: "plugin " + r.Description.Name, Tests: len(r.Results), Failures: r.count(Failed), Skipped: r.count(Skipped),
	}
	var total float64
	for _, result := range r.Results {
		total += result.Took.Seconds()
		c := junitCase{
			Class: "translatortest." + r.Description.Name, Name: result.Suite + ": " + result.Rule,
			Time: fmt.Sprintf("%.3f", result.Took.Seconds()),
		}
		switch result.Outcome {
		case Failed:
			c.Failure = &junitMessage{result.Detail}
		case Skipped:
			c.Skipped = &junitMessage{result.Detail}
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = fmt.Sprintf("%.3f", total)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write junit: %w", err)
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(junitSuites{Suite: suite}); err != nil {
		return fmt.Errorf("write junit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}
