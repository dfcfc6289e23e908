package capture

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/offramp/offramp/proxy"
)

// maxLine bounds one line, in bytes: an event's data may have 1 MiB at most,
// and grows by a third in base64.
const maxLine = 2 << 20

// Reader reads a capture.
type Reader struct {
	header header
	lines  *bufio.Scanner
	number int
}

// NewReader reads a capture's header.
func NewReader(r io.Reader) (*Reader, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	lines := bufio.NewScanner(zip)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	c := &Reader{lines: lines}
	if err := c.next(&c.header); err != nil {
		return nil, err
	}
	if c.header.Format != Format {
		return nil, fmt.Errorf("read capture: its format is %q, this version reads %q", c.header.Format, Format)
	}
	return c, nil
}

// Redacted reports whether payloads were replaced by hashes.
func (c *Reader) Redacted() bool { return c.header.Redacted }

// Began returns when the capture was begun.
func (c *Reader) Began() time.Time { return c.header.Began }

// App returns the captured app, as far as the comparison needs it; nil when
// the file does not say.
func (c *Reader) App() *proxy.App {
	if c.header.App == nil {
		return nil
	}
	return c.header.App.app()
}

// Next returns the next record, and io.EOF after the last.
func (c *Reader) Next() (proxy.Record, error) {
	var l line
	if err := c.next(&l); err != nil {
		return proxy.Record{}, err
	}
	r, err := l.decode()
	if err != nil {
		return r, fmt.Errorf("read capture, line %d: %w", c.number, err)
	}
	return r, nil
}

func (c *Reader) next(into any) error {
	c.number++
	if !c.lines.Scan() {
		if err := c.lines.Err(); err != nil {
			return fmt.Errorf("read capture, line %d: %w", c.number, err)
		}
		if c.number == 1 {
			return errors.New("read capture: it is empty")
		}
		return io.EOF
	}
	if err := json.Unmarshal(c.lines.Bytes(), into); err != nil {
		return fmt.Errorf("read capture, line %d: %w", c.number, err)
	}
	return nil
}
