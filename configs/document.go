package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds the nesting of a document; the deepest setting needs 7.
const maxDepth = 32

// document parses text into one tree of nodes that is safe to walk: no
// aliases (so no cycles and no growth), no foreign tags, bounded depth. It
// returns nil when there is nothing to read on with.
func (r *reader) document(text []byte) *yaml.Node {
	if !utf8.Valid(text) {
		r.problemAt(place{}, "", "The file is not UTF-8 text", "Save it as UTF-8")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) {
		r.problemAt(place{}, "", "The file is empty", "Start with: apps: [{id: …, key: …, secret: …}]")
		return nil
	}
	if err != nil {
		r.syntaxProblem(err)
		return nil
	}
	root := doc.Content[0]
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		r.problemAt(place{second.Line, second.Column}, "", "The file holds a second document", "Keep one document: remove everything from the second --- on")
	} else if !errors.Is(err, io.EOF) {
		r.syntaxProblem(err)
	}
	if !r.safe(root, 0) {
		return nil
	}
	return root
}

// safe reports whether the tree under n may be walked, and says why not.
func (r *reader) safe(n *yaml.Node, depth int) bool {
	at := place{n.Line, n.Column}
	switch {
	case depth > maxDepth:
		r.problemAt(at, "", fmt.Sprintf("The document is nested more than %d levels deep", maxDepth), "No setting needs that: remove the inner levels")
		return false
	case n.Kind == yaml.AliasNode:
		r.problemAt(at, "", "Aliases (*"+clip(n.Value)+") are not supported", "Write the value out where it is used")
		return false
	case n.Anchor != "":
		r.problemAt(at, "", "Anchors (&"+clip(n.Anchor)+") are not supported", "Remove the anchor, and write values out where they are used")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.problemAt(at, "", "Tags ("+clip(n.Tag)+") are not supported", "Remove the tag: the type follows from the setting")
		return false
	}
	for _, child := range n.Content {
		if !r.safe(child, depth+1) {
			return false
		}
	}
	return true
}

var syntaxLine = regexp.MustCompile(`^line (\d+): `)

// syntaxProblem reports what the YAML parser stumbled over.
func (r *reader) syntaxProblem(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var at place
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		at.line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	fix := "Check the indentation, the colons and the quotes around this line"
	if strings.Contains(text, "cannot start any token") {
		fix = "Indent with spaces, never with tabs, and quote values that begin with @, % or `"
	}
	r.problemAt(at, "", "The YAML cannot be read: "+text, fix)
}

// clip bounds foreign text that is quoted in a problem.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
