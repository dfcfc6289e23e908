package transcript

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Script is one transcript.
type Script struct {
	File  string
	Title string   // without the ids
	IDs   []string // conformance items that it shows
	Steps []Step
}

// Step is one line of a script.
type Step struct {
	Line int
	Who  string // connection; empty for steps of no connection
	Verb string
	Rest string
}

var title = regexp.MustCompile(`^== ((?:T\d{3} ?)*): (.+)$`)

// connName tells a connection's name from a verb: it is in capitals.
var connName = regexp.MustCompile(`^[A-Z][A-Z0-9]*$`)

// Load reads every transcript in a directory.
func Load(dir string) ([]Script, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var scripts []Script
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		more, err := Parse(filepath.Base(file), string(text))
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, more...)
	}
	return scripts, nil
}

// Parse reads the scripts of one file.
func Parse(file, text string) ([]Script, error) {
	var scripts []Script
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "=="):
			m := title.FindStringSubmatch(line)
			if m == nil {
				return nil, fmt.Errorf("%s:%d: write the title as \"== T000 T001: what it shows\"", file, i+1)
			}
			scripts = append(scripts, Script{File: file, IDs: strings.Fields(m[1]), Title: m[2]})
		case len(scripts) == 0:
			return nil, fmt.Errorf("%s:%d: a step before the first title", file, i+1)
		default:
			s := &scripts[len(scripts)-1]
			s.Steps = append(s.Steps, parseStep(i+1, line))
		}
	}
	return scripts, nil
}

func parseStep(number int, line string) Step {
	step := Step{Line: number}
	first, rest, _ := strings.Cut(line, " ")
	if connName.MatchString(first) {
		step.Who = first
		first, rest, _ = strings.Cut(rest, " ")
	}
	step.Verb, step.Rest = first, rest
	return step
}
