package plugins

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"time"

	"github.com/rs/zerolog"
)

// hclogWriter turns zerolog's lines into those that go-plugin recognises, in
// which the level, message and time have names of their own.
type hclogWriter struct{ out io.Writer }

// Write implements io.Writer for one line.
func (w hclogWriter) Write(line []byte) (int, error) {
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return w.out.Write(line)
	}
	renamed := map[string]any{"@timestamp": time.Now().Format("2006-01-02T15:04:05.000000Z07:00")}
	maps.Copy(renamed, fields)
	for from, to := range map[string]string{zerolog.LevelFieldName: "@level", zerolog.MessageFieldName: "@message"} {
		if value, ok := fields[from]; ok {
			renamed[to] = value
			delete(renamed, from)
		}
	}
	raw, err := json.Marshal(renamed)
	if err != nil {
		return 0, err
	}
	if _, err := w.out.Write(append(raw, '\n')); err != nil {
		return 0, err
	}
	return len(line), nil
}
