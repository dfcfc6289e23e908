package configs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFileBytes bounds a configuration file, and each secret file.
const (
	maxFileBytes   = 1 << 20
	maxSecretBytes = 64 << 10
)

// Load reads and checks the file at path. The error is Problems, every one of
// them, when the file is at fault or cannot be read.
//
// plugins are the names of the built-in translators; a backend that names
// another, and is not a path, is a problem. Without plugins, names are not
// checked.
//
// Relative paths inside the file are relative to the directory it is in.
func Load(path string, env Environment, plugins ...string) (*Config, error) {
	cfg, problems := load(path, env, plugins)
	if len(problems) > 0 {
		return nil, problems
	}
	return cfg, nil
}

// Check returns every problem of the file at path; none: Load will succeed.
func Check(path string, env Environment, plugins ...string) Problems {
	_, problems := load(path, env, plugins)
	return problems
}

func load(path string, env Environment, plugins []string) (*Config, Problems) {
	text, err := readBounded(path, maxFileBytes)
	if err != nil {
		return nil, Problems{{File: path, Problem: fileProblem(err), Fix: "Give the path of a readable YAML file, or none for development mode"}}
	}
	return parse(path, text, env, plugins)
}

// parse reads a document that was loaded from path.
func parse(path string, text []byte, env Environment, plugins []string) (*Config, Problems) {
	r := &reader{file: path, dir: filepath.Dir(path), env: env, plugins: plugins, places: map[string]place{}}
	cfg := defaults()
	cfg.File = path
	if root := r.document(text); root != nil {
		r.config(cfg, root)
	}
	return cfg, r.result()
}

var errTooLarge = errors.New("too large")

// readBounded reads a regular file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read from
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, errors.New("it is a directory")
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%w: the limit is %d bytes", errTooLarge, limit)
	}
	return text, nil
}

// fileProblem says why a file cannot be read, without repeating its path.
func fileProblem(err error) string {
	var pathErr *os.PathError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "There is no such file"
	case errors.Is(err, os.ErrPermission):
		return "The file may not be read by this user"
	case errors.As(err, &pathErr):
		err = pathErr.Err
	}
	return "The file cannot be read: " + strings.TrimSuffix(err.Error(), ".")
}
