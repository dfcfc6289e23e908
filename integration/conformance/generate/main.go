// Command generate writes docs/conformance.md from a run of the tests: every
// item of the conformance list, the cases that show it, and their result.
//
//	OFFRAMP_CONFORMANCE=records.tsv go test -json ./... > tests.json
//	go run ./integration/conformance/generate -tests tests.json -records records.tsv > docs/conformance.md
//
// A case shows an item by bearing its id in its name ("T048 …", TestT048), or by calling
// conformance.Record. It exits with 1 when a case failed, or an item has
// neither a case nor a reason.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/offramp/offramp/integration/conformance"
)

func main() {
	list := flag.String("list", "integration/testdata/conformance.tsv", "the conformance list")
	reasons := flag.String("reasons", "integration/testdata/conformance-reasons.tsv", "why items have no case: id, tab, reason")
	tests := flag.String("tests", "", "output of go test -json")
	records := flag.String("records", "", "file that conformance.Record wrote; empty: none")
	flag.Parse()
	if err := run(os.Stdout, *list, *reasons, *tests, *records); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// result is how one case went for one item.
type result struct {
	name   string
	passed bool
}

func run(w io.Writer, list, reasonsPath, tests, records string) error {
	items, err := conformance.Load(list)
	if err != nil {
		return err
	}
	reasons, err := readReasons(reasonsPath)
	if err != nil {
		return err
	}
	results := make(map[string][]result)
	if err := readTests(tests, results); err != nil {
		return err
	}
	if records != "" {
		if err := readRecords(records, results); err != nil {
			return err
		}
	}
	return write(w, items, reasons, results)
}

var (
	// in a name such as "T048 …", or that of a function, TestT048Title
	idPattern = regexp.MustCompile(`(?:\b|Test)(T\d{3})(?:\b|[A-Z])`)
	separator = strings.NewReplacer("_", " ", "/", " ")
)

// readTests collects the cases whose names bear ids.
func readTests(path string, results map[string][]result) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := json.NewDecoder(bufio.NewReader(f))
	for {
		var event struct{ Action, Package, Test string }
		if err := lines.Decode(&event); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if event.Action != "pass" && event.Action != "fail" || event.Test == "" {
			continue
		}
		pkg := strings.TrimPrefix(event.Package, "github.com/offramp/offramp/")
		for _, found := range idPattern.FindAllStringSubmatch(separator.Replace(event.Test), -1) {
			results[found[1]] = append(results[found[1]], result{pkg + ": " + event.Test, event.Action == "pass"})
		}
	}
}

// readRecords collects what conformance.Record noted.
func readRecords(path string, results map[string][]result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		cells := strings.Split(line, "\t")
		if len(cells) != 3 {
			return fmt.Errorf("%s: line %q has %d cells, want 3", path, line, len(cells))
		}
		r := result{cells[1], cells[2] == "pass"}
		borne := slices.ContainsFunc(results[cells[0]], func(o result) bool { return strings.HasSuffix(o.name, r.name) })
		if !borne {
			results[cells[0]] = append(results[cells[0]], r)
		}
	}
	return nil
}

func readReasons(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	reasons := make(map[string]string)
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if id, reason, ok := strings.Cut(line, "\t"); ok {
			reasons[id] = reason
		}
	}
	return reasons, err
}

func write(w io.Writer, items []conformance.Item, reasons map[string]string, results map[string][]result) error {
	var table strings.Builder
	var shown, failed int
	var bare []string
	for _, item := range items {
		outcome, cases := "", ""
		switch rs := results[item.ID]; {
		case len(rs) > 0:
			shown++
			outcome = "pass"
			slices.SortFunc(rs, func(a, b result) int { return cmp.Compare(a.name, b.name) })
			for i, r := range rs {
				if !r.passed {
					outcome = "**fail**"
				}
				if i < 3 {
					cases += "<br>`" + strings.ReplaceAll(r.name, "|", "\\|") + "`"
				}
			}
			if more := len(rs) - 3; more > 0 {
				cases += fmt.Sprintf("<br>and %d more", more)
			}
			cases = strings.TrimPrefix(cases, "<br>")
			if outcome != "pass" {
				failed++
			}
		case reasons[item.ID] != "":
			outcome, cases = "no case", reasons[item.ID]
		default:
			bare = append(bare, item.ID)
			outcome, cases = "**no case**", ""
		}
		basis := ""
		if item.Inferred {
			basis = "inferred"
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n",
			item.ID, item.Area, strings.ReplaceAll(item.Text, "|", "\\|"), basis, outcome, cases)
	}
	_, err := fmt.Fprintf(w, `# Conformance

Generated by `+"`make conformance`"+` from a run of the tests. %d of %d items have a case; %d fail. An item marked
*inferred* rests on a conclusion from the vendor's documentation, its SDKs or captured traffic, not on a statement of
the vendor.

| id | area | what holds | basis | result | shown by |
|---|---|---|---|---|---|
%s`, shown, len(items), failed, table.String())
	switch {
	case err != nil:
		return err
	case failed > 0:
		return fmt.Errorf("%d items fail", failed)
	case len(bare) > 0:
		return fmt.Errorf("%d items have neither a case nor a reason: %s", len(bare), strings.Join(bare, " "))
	}
	return nil
}
