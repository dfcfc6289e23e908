package configs

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one mistake in a configuration file, and what to do about it.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`   // from 1; 0: the file as a whole
	Column  int    `json:"column,omitempty"` // from 1; 0: the line as a whole
	Path    string `json:"path,omitempty"`   // such as apps[0].limits.event_bytes; empty: the whole document
	Problem string `json:"problem"`          // what is wrong, as a sentence without its full stop
	Fix     string `json:"fix"`              // what to write instead
}

// String returns the problem on one line, in the form that editors jump to.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Problem + ". " + p.Fix)
	if !strings.HasSuffix(p.Fix, "?") {
		b.WriteByte('.')
	}
	return b.String()
}

// Problems is every problem of one file, in file order. It is the error that
// Load returns.
type Problems []Problem

// Error returns every problem, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sort puts problems in file order; what concerns the whole file comes first.
func (ps Problems) sort() {
	sort.SliceStable(ps, func(i, j int) bool {
		if ps[i].Line != ps[j].Line {
			return ps[i].Line < ps[j].Line
		}
		return ps[i].Column < ps[j].Column
	})
}
