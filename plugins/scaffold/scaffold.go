// Package scaffold writes the module of a new translator plugin: one that
// builds, passes the conformance kit against a stand-in, and leaves one file
// to make one's own.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"text/template"
)

//go:embed templates/*.tmpl
var templates embed.FS

// files says which template becomes which file.
func files() map[string]string {
	return map[string]string{
		"main.go.tmpl":             "main.go",
		"translator.go.tmpl":       "translator.go",
		"conformance_test.go.tmpl": "conformance_test.go",
		"standin.go.tmpl":          "standin/standin.go",
		"standin_client.go.tmpl":   "standin/client.go",
		"serve.go.tmpl":            "standin/serve/main.go",
		"go.mod.tmpl":              "go.mod",
		"README.md.tmpl":           "README.md",
		"settings.yaml.tmpl":       "settings.yaml",
		"test.yml.tmpl":            ".github/workflows/test.yml",
	}
}

// Plugin is what is to be written.
type Plugin struct {
	Name   string // lower case, such as "mybackend"
	Module string // path of the Go module; empty: the name
	// Go and Version are the versions of Go and of Offramp that the module
	// asks for.
	Go      string
	Version string
	// Replace is the path of an Offramp checkout to build against; empty: the
	// released module.
	Replace string
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)

// Write writes the module into dir, which must not exist yet or be empty.
func (p Plugin) Write(dir string) error {
	if !namePattern.MatchString(p.Name) {
		return fmt.Errorf("plugin name %q: use 1 to 40 of a-z 0-9 _ -, starting with a letter", p.Name)
	}
	if p.Module == "" {
		p.Module = p.Name
	}
	switch entries, err := os.ReadDir(dir); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("write plugin: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("write plugin: %s is not empty; choose another name, or remove it", dir)
	}
	for source, target := range files() {
		if err := p.write(source, filepath.Join(dir, target)); err != nil {
			return fmt.Errorf("write plugin: %w", err)
		}
	}
	return nil
}

func (p Plugin) write(source, target string) error {
	t, err := template.ParseFS(templates, "templates/"+source)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, p); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // source code is for everybody to read
		return err
	}
	return os.WriteFile(target, text.Bytes(), 0o644) //nolint:gosec // likewise
}
