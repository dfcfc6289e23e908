package configs

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/offramp/offramp/proxy"
)

// setting is one key of a section: what it takes, what it is when absent, and
// how it gets from the file to its place. The place holds the default when
// the setting is made.
type setting struct {
	key      string
	takes    string    // for a person: "a number from 1 to 200"
	standard string    // the default as it would be written; empty: none
	required bool      // absent is a problem
	list     bool      // inside describes each element of a list
	inside   []setting // a section's own settings
	read     func(r *reader, path string, n *yaml.Node)
}

// needed marks a setting that must be given.
func needed(s setting) setting {
	s.required = true
	return s
}

// check is a rule for one value. It returns what is wrong with it and the
// fix, or two empty strings.
type check func(value string) (problem, fix string)

// text takes plain text; numbers are text as they are written, since ids and
// keys often look like one.
func text(key string, target *string, takes string, checks ...check) setting {
	return setting{key: key, takes: takes, standard: *target, read: func(r *reader, path string, n *yaml.Node) {
		value, ok := r.scalar(path, n, takes)
		if !ok || !r.checked(path, value, checks) {
			return
		}
		*target = value
	}}
}

// checked applies rules to a value and reports whether all of them hold.
func (r *reader) checked(path, value string, checks []check) bool {
	for _, c := range checks {
		if problem, fix := c(value); problem != "" {
			r.problem(path, problem, fix)
			return false
		}
	}
	return true
}

// file takes the path of a file or directory, relative to the document's.
func file(key string, target *string, takes string) setting {
	s := text(key, target, takes, filled)
	readText := s.read
	s.read = func(r *reader, path string, n *yaml.Node) {
		readText(r, path, n)
		*target = r.resolve(*target)
	}
	return s
}

// resolve makes a path in the file independent of the working directory.
func (r *reader) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.dir, path)
}

// boolean takes true or false.
func boolean(key string, target *bool) setting {
	const takes = "true or false"
	return setting{key: key, takes: takes, standard: strconv.FormatBool(*target), read: func(r *reader, path string, n *yaml.Node) {
		var value bool
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&value) != nil {
			r.problem(path, "This must be true or false, not "+describe(n), "Write true or false, without quotes")
			return
		}
		*target = value
	}}
}

// integer takes a whole number from least to most.
func integer(key string, target *int, least, most int) setting {
	takes := fmt.Sprintf("a whole number from %d to %d", least, most)
	return setting{key: key, takes: takes, standard: strconv.Itoa(*target), read: func(r *reader, path string, n *yaml.Node) {
		var value int
		switch {
		case n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(&value) != nil:
			r.problem(path, "This must be "+takes+", not "+describe(n), "Write the digits alone, without a unit or quotes")
		case value < least || value > most:
			r.problem(path, fmt.Sprintf("%d is out of range", value), fmt.Sprintf("Use %d to %d", least, most))
		default:
			*target = value
		}
	}}
}

// fraction takes a number from 0 to 1.
func fraction(key string, target *float64) setting {
	const takes = "a number from 0.0 to 1.0"
	standard := strconv.FormatFloat(*target, 'f', 1, 64)
	return setting{key: key, takes: takes, standard: standard, read: func(r *reader, path string, n *yaml.Node) {
		var value float64
		switch {
		case n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" || n.Decode(&value) != nil:
			r.problem(path, "This must be "+takes+", not "+describe(n), "Write it as in 0.25, without quotes")
		case !(value >= 0 && value <= 1): // NaN is neither
			r.problem(path, clip(n.Value)+" is out of range", "Use 0.0 for none to 1.0 for all")
		default:
			*target = value
		}
	}}
}

// duration takes a time with its unit, from least to most.
func duration(key string, target *time.Duration, least, most time.Duration, checks ...check) setting {
	takes := "a time with its unit, from " + formatDuration(least) + " to " + formatDuration(most)
	return setting{key: key, takes: takes, standard: formatDuration(*target), read: func(r *reader, path string, n *yaml.Node) {
		written, ok := r.scalar(path, n, takes)
		if !ok {
			return
		}
		value, err := time.ParseDuration(written)
		switch {
		case n.Tag == "!!int":
			r.problem(path, "The time "+clip(written)+" has no unit", "Write "+clip(written)+"s for seconds, "+clip(written)+"ms for milliseconds")
		case err != nil:
			r.problem(path, clip(written)+" is not a time", "Write a number and a unit, such as 500ms, 60s or 2m")
		case value < least || value > most:
			r.problem(path, written+" is out of range", "Use "+formatDuration(least)+" to "+formatDuration(most))
		case r.checked(path, written, checks):
			*target = value
		}
	}}
}

// formatDuration writes a time the way people do: 120s, not 2m0s.
func formatDuration(d time.Duration) string {
	if d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return d.String()
}

// choice takes one of a few words.
func choice[T ~string](key string, target *T, options ...T) setting {
	words := make([]string, len(options))
	for i, o := range options {
		words[i] = string(o)
	}
	takes := "one of " + strings.Join(words, ", ")
	return setting{key: key, takes: takes, standard: string(*target), read: func(r *reader, path string, n *yaml.Node) {
		if word, ok := r.word(path, n, takes, words); ok {
			*target = T(word)
		}
	}}
}

// choices takes a list of some of a few words, each at most once.
func choices[T ~string](key string, target *[]T, options []T) setting {
	words := make([]string, len(options))
	for i, o := range options {
		words[i] = string(o)
	}
	takes := "a list of " + strings.Join(words, ", ")
	return setting{key: key, takes: takes, standard: "all", read: func(r *reader, path string, n *yaml.Node) {
		*target = nil
		r.sequence(path, n, func(path string, n *yaml.Node) {
			word, ok := r.word(path, n, "one of "+strings.Join(words, ", "), words)
			switch {
			case !ok:
			case slices.Contains(*target, T(word)):
				r.problem(path, word+" is given twice", "Keep one of the two")
			default:
				*target = append(*target, T(word))
			}
		})
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			r.problem(path, "The list is empty", "Name at least one, or remove the line for all of them")
		}
	}}
}

// word reads one of a few words.
func (r *reader) word(path string, n *yaml.Node, takes string, words []string) (string, bool) {
	word, ok := r.scalar(path, n, takes)
	if !ok {
		return "", false
	}
	if slices.Contains(words, word) {
		return word, true
	}
	fix := "Use " + takes
	if near := nearest(word, words); near != "" {
		fix = "Did you mean " + near + "?"
	}
	r.problem(path, strconv.Quote(clip(word))+" is not known here", fix)
	return "", false
}

// stage takes the name of a stage.
func stage(key string, target *proxy.Stage) setting {
	var names []string
	for s := proxy.StageObserve; s <= proxy.StageExited; s++ {
		names = append(names, s.String())
	}
	takes := "one of " + strings.Join(names, ", ")
	standard := ""
	if *target != 0 {
		standard = target.String()
	}
	return setting{key: key, takes: takes, standard: standard, read: func(r *reader, path string, n *yaml.Node) {
		word, ok := r.word(path, n, takes, names)
		if !ok {
			return
		}
		*target = proxy.StageObserve + proxy.Stage(slices.Index(names, word))
	}}
}

// texts takes a list of plain texts.
func texts(key string, target *[]string, takes string, checks ...check) setting {
	standard := "[" + strings.Join(*target, ", ") + "]"
	return setting{key: key, takes: takes, standard: standard, read: func(r *reader, path string, n *yaml.Node) {
		*target = nil
		r.sequence(path, n, func(path string, n *yaml.Node) {
			if value, ok := r.scalar(path, n, "text"); ok && r.checked(path, value, checks) {
				*target = append(*target, value)
			}
		})
	}}
}

// section takes further settings.
func section(key string, inside ...setting) setting {
	return setting{key: key, takes: "a section", inside: inside, read: func(r *reader, path string, n *yaml.Node) {
		r.mapping(path, n, inside)
	}}
}

// optional is a section whose target stays nil when it is absent.
func optional[T any](key string, target **T, inside func(*T) []setting) setting {
	return setting{key: key, takes: "a section", inside: inside(new(T)), read: func(r *reader, path string, n *yaml.Node) {
		*target = new(T)
		r.mapping(path, n, inside(*target))
	}}
}

// sections takes a list of sections. fresh makes an element with its
// defaults; add is called with each when it has been read.
func sections[T any](key string, fresh func() *T, inside func(*T) []setting, add func(r *reader, path string, element *T)) setting {
	return setting{key: key, takes: "a list of sections", standard: "[]", list: true, inside: inside(fresh()), read: func(r *reader, path string, n *yaml.Node) {
		r.sequence(path, n, func(path string, n *yaml.Node) {
			element := fresh()
			r.mapping(path, n, inside(element))
			add(r, path, element)
		})
	}}
}
