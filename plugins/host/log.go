package host

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/rs/zerolog"
)

// tailLines is how much of a process's output is kept.
const (
	tailLines    = 200
	maxTailBytes = 1024 // of one line
)

const redacted = "[redacted]"

// tail keeps the last lines of a process's output.
type tail struct {
	hide *strings.Replacer

	mu   sync.Mutex
	last []string
	part []byte // line that has not ended
}

func newTail(secrets []string) *tail { return &tail{hide: replacer(secrets)} }

// replacer hides secrets. Very short ones are let pass: hiding them would
// hide everything else.
func replacer(secrets []string) *strings.Replacer {
	var pairs []string
	for _, secret := range secrets {
		if len(secret) >= 4 {
			pairs = append(pairs, secret, redacted)
		}
	}
	return strings.NewReplacer(pairs...)
}

// Write implements io.Writer.
func (t *tail) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := text
	for {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		if room := maxTailBytes - len(t.part); room > 0 {
			t.part = append(t.part, line[:min(room, len(line))]...)
		}
		if !ended {
			return len(text), nil
		}
		t.keep()
		rest = after
	}
}

// keep ends the current line. Called with mu held.
func (t *tail) keep() {
	if line := strings.TrimRight(string(t.part), "\r"); line != "" {
		t.last = append(t.last, t.hide.Replace(line))
	}
	t.part = t.part[:0]
	if extra := len(t.last) - tailLines; extra > 0 {
		t.last = slices.Delete(t.last, 0, extra)
	}
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.last)
}

// newLogger returns an hclog.Logger, which go-plugin asks for, that writes to
// a zerolog.Logger.
func newLogger(log zerolog.Logger, secrets []string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Level:      hclog.Debug,
		JSONFormat: true,
		Output:     &bridge{log: log, hide: replacer(secrets)},
	})
}

// bridge reads hclog's JSON lines and logs them. It is off every hot path.
type bridge struct {
	log  zerolog.Logger
	hide *strings.Replacer
}

var _ io.Writer = (*bridge)(nil)

// Write implements io.Writer for one line.
func (b *bridge) Write(line []byte) (int, error) {
	var fields map[string]any
	if err := json.Unmarshal([]byte(b.hide.Replace(string(line))), &fields); err != nil {
		b.log.Debug().Str("line", b.hide.Replace(string(line))).Msg("plugin output")
		return len(line), nil //nolint:nilerr // logged as it is
	}
	level, err := zerolog.ParseLevel(text(fields["@level"]))
	if err != nil {
		level = zerolog.DebugLevel
	}
	message := text(fields["@message"])
	for _, name := range []string{"@level", "@message", "@timestamp", "timestamp", "@module"} {
		delete(fields, name)
	}
	b.log.WithLevel(quieter(level, message)).Fields(fields).Msg(message)
	return len(line), nil
}

// quieter lowers what go-plugin says about each start and stop, of which the
// supervisor logs its own account.
func quieter(level zerolog.Level, message string) zerolog.Level {
	for _, routine := range []string{"plugin process exited", "plugin failed to exit gracefully", "error closing client during Kill"} {
		if message == routine {
			return zerolog.DebugLevel
		}
	}
	return level
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
