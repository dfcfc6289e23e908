package configs

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxProblems bounds how many problems are reported at once; a file with more
// is not the kind of file it was taken for.
const maxProblems = 100

// maxElements bounds a list, and so the work that one file makes.
const maxElements = 10_000

// place is a position in the file, from 1; zero when there is none.
type place struct{ line, column int }

// reader walks one document and gathers its problems.
type reader struct {
	// Set at construction.
	file    string
	dir     string // relative paths in the file start here
	env     Environment
	plugins []string

	places   map[string]place // where each setting that was given stands, by path
	problems Problems
	more     bool // there were too many
}

// result returns the problems in file order.
func (r *reader) result() Problems {
	r.problems.sort()
	if r.more {
		return append(r.problems, Problem{File: r.file, Problem: "There are more problems than these", Fix: "Mend these first"})
	}
	return r.problems
}

// problemAt reports a problem at a place.
func (r *reader) problemAt(at place, path, problem, fix string) {
	if len(r.problems) == maxProblems {
		r.more = true
		return
	}
	r.problems = append(r.problems, Problem{File: r.file, Line: at.line, Column: at.column, Path: path, Problem: problem, Fix: fix})
}

// problem reports a problem of a setting, at the setting if it was given and
// at the nearest section around it otherwise.
func (r *reader) problem(path, problem, fix string) {
	at := path
	for {
		if p, ok := r.places[at]; ok || at == "" {
			r.problemAt(p, path, problem, fix)
			return
		}
		at = at[:max(strings.LastIndexByte(at, '.'), strings.LastIndexByte(at, '['), 0)]
	}
}

// given reports whether the file has the setting.
func (r *reader) given(path string) bool {
	_, ok := r.places[path]
	return ok
}

// mapping reads a section's settings. Unknown, repeated, empty and missing
// ones are problems.
func (r *reader) mapping(path string, n *yaml.Node, settings []setting) {
	if n.Kind != yaml.MappingNode {
		r.problem(path, "This must be a section, not "+describe(n), "Write lines of key: value, with keys such as "+settings[0].key)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := place{key.Line, key.Column}
		if key.Kind != yaml.ScalarNode {
			r.problemAt(at, path, "A key must be plain text, not "+describe(key), "Use one of "+keys(settings))
			continue
		}
		full := join(path, clip(key.Value))
		k := slices.IndexFunc(settings, func(s setting) bool { return s.key == key.Value })
		switch {
		case k < 0:
			r.problemAt(at, full, "There is no such setting", suggest(key.Value, settings))
		case seen[key.Value]:
			r.problemAt(at, full, "The setting is given twice", "Keep one of the two")
		default:
			seen[key.Value] = true
			r.places[full] = place{value.Line, value.Column}
			r.value(full, value, settings[k])
		}
	}
	for _, s := range settings {
		if s.required && !seen[s.key] {
			r.problem(join(path, s.key), "This setting is missing", "Add "+s.key+": "+s.takes)
		}
	}
}

// value reads one setting's value.
func (r *reader) value(path string, n *yaml.Node, s setting) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		fix := "Give it " + s.takes
		if !s.required {
			fix += ", or remove the line to keep the default"
		}
		r.problem(path, "The setting has no value", fix)
		return
	}
	s.read(r, path, n)
}

// sequence calls each for the elements of a list.
func (r *reader) sequence(path string, n *yaml.Node, each func(path string, n *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		r.problem(path, "This must be a list, not "+describe(n), "Write [a, b], or one element a line, each after a dash")
		return
	}
	if len(n.Content) > maxElements {
		r.problem(path, fmt.Sprintf("The list has %d elements", len(n.Content)), fmt.Sprintf("Use at most %d", maxElements))
		return
	}
	for i, element := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.places[at] = place{element.Line, element.Column}
		each(at, element)
	}
}

// scalar returns the text of a plain value exactly as it was written, and
// reports a problem when there is none.
func (r *reader) scalar(path string, n *yaml.Node, takes string) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.problem(path, "This must be "+takes+", not "+describe(n), "Write one plain value")
	case n.Tag == "!!null":
		r.problem(path, "This must be "+takes+", not nothing", "Give it a value")
	case n.Tag == "!!bool":
		r.problem(path, "This must be "+takes+", not "+describe(n), "Quote it if that is the text meant")
	default:
		return n.Value, true
	}
	return "", false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// describe names a value's type for a person.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return clip(n.Value)
	}
	return "text"
}
