package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Lock is the content of plugins.lock: which executables may run as plugins.
type Lock struct {
	Plugins []LockedPlugin `json:"plugins"`
}

// LockedPlugin pins one executable.
type LockedPlugin struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"` // lower-case hex
	Source  string `json:"source"` // path of the executable, as configured
}

// ErrNotLocked is returned for an executable that a lock file does not name,
// or names with another checksum.
var ErrNotLocked = errors.New("plugin does not match plugins.lock")

// ReadLock reads a lock file.
func ReadLock(path string) (*Lock, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read plugin lock: %w", err)
	}
	var lock Lock
	if err := json.Unmarshal(raw, &lock); err != nil {
		return nil, fmt.Errorf("read plugin lock %s: %w; write it anew with: offramp plugin lock", path, err)
	}
	return &lock, nil
}

// Write writes the lock to a file, whole or not at all.
func (l *Lock) Write(path string) error {
	slices.SortFunc(l.Plugins, func(a, b LockedPlugin) int { return strings.Compare(a.Source, b.Source) })
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encode plugin lock: %w", err)
	}
	draft, err := os.CreateTemp(filepath.Dir(path), ".plugins.lock-*")
	if err != nil {
		return fmt.Errorf("write plugin lock: %w", err)
	}
	defer os.Remove(draft.Name()) //nolint:errcheck // gone after the rename
	_, err = draft.Write(append(raw, '\n'))
	if err = errors.Join(err, draft.Close()); err != nil {
		return fmt.Errorf("write plugin lock: %w", err)
	}
	if err := os.Rename(draft.Name(), path); err != nil {
		return fmt.Errorf("write plugin lock: %w", err)
	}
	return nil
}

// checksum returns what an executable must hash to: without a lock, anything.
func (l *Lock) checksum(path string) ([]byte, error) {
	if l == nil {
		return nil, nil
	}
	for _, p := range l.Plugins {
		if p.Source != path {
			continue
		}
		sum, err := hex.DecodeString(p.SHA256)
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("%w: the checksum of %s is not a SHA-256", ErrNotLocked, path)
		}
		return sum, nil
	}
	return nil, fmt.Errorf("%w: %s is not listed; if it is to be trusted, run: offramp plugin lock", ErrNotLocked, path)
}

// Checksum returns the SHA-256 of a file, in lower-case hex.
func Checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hash plugin: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash plugin %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
