package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/offramp/offramp/proxy"
)

// Bounds of a spool. What does not fit waits in memory only.
const (
	maxSpooled = 64 << 20 // bytes of copies that wait
	maxEntries = 1 << 15
	// rewriteOver is how much of a file may be of no use any more before it is
	// written anew.
	rewriteOver = 8 << 20
	// maxSpoolFile is more than a file grows to.
	maxSpoolFile = 4*maxSpooled + 2*rewriteOver
)

// spool keeps the copies of one app that the vendor does not have yet in a
// file, so that they outlive the process. The file is a log of copies and of
// settlements (spool_log.go). It is written without syncing: it survives that
// the process is killed, not that the machine loses power.
//
// Copies are gathered in memory by add, which costs next to nothing where
// events are fanned out; flush writes all that were gathered by then. Callers
// who flush at the same time share a write.
type spool struct {
	path string
	log  zerolog.Logger

	mu      sync.Mutex
	waiting map[proxy.EventID]spooled
	seq     uint64
	bytes   int    // of waiting
	unkept  uint64 // copies that are not in the file: no room, or it cannot be written
	buffer  []byte // to be written
	fresh   uint64 // copies in buffer

	writing sync.Mutex // held while the file is written; taken before mu
	file    *os.File
	size    int64
	broken  error // the file does not hold what it should: it is to be written anew
	spare   []byte
}

type spooled struct {
	event *proxy.Event
	seq   uint64
	size  int
}

// openSpool opens an app's file, made if need be, and returns the copies that
// an earlier process left in it, in their order. What is damaged at its end is
// given up.
func openSpool(path string, log zerolog.Logger) (s *spool, left []*proxy.Event, err error) {
	s = &spool{path: path, log: log, waiting: make(map[proxy.EventID]spooled)}
	text, err := readSpool(path)
	if err != nil {
		return nil, nil, err
	}
	left, rest := readSpoolLog(text)
	if rest > 0 {
		log.Warn().Str("file", path).Int("bytes", rest).Msg("the end of a file of waiting copies is damaged and is given up")
	}
	for _, ev := range left {
		s.add(ev)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.rewrite(); err != nil {
		return nil, nil, err
	}
	return s, left, nil
}

func readSpool(path string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, maxSpoolFile))
}

// add takes a copy in. It is in the file after the next flush.
func (s *spool) add(ev *proxy.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := len(s.buffer)
	s.buffer = appendCopy(s.buffer, ev)
	size := len(s.buffer) - from
	if len(s.waiting) >= maxEntries || s.bytes+size > maxSpooled {
		s.buffer = s.buffer[:from]
		s.unkept++
		return
	}
	s.seq++
	s.waiting[ev.ID] = spooled{ev, s.seq, size}
	s.bytes += size
	s.fresh++
}

// settle takes copies out that need nothing more, after the next flush for
// good.
func (s *spool) settle(events ...*proxy.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range events {
		if ev == nil {
			continue
		}
		if w, ok := s.waiting[ev.ID]; ok {
			delete(s.waiting, ev.ID)
			s.bytes -= w.size
			s.buffer = appendSettled(s.buffer, ev.ID)
		}
	}
}

// flush returns when what was added and settled before is in the file. Where
// that is not possible it says so in the log, once.
func (s *spool) flush() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	fresh := s.fresh
	s.fresh = 0
	s.mu.Unlock()
	before := s.broken
	if s.broken = s.write(); s.broken == nil {
		return
	}
	s.mu.Lock()
	s.unkept += fresh
	s.mu.Unlock()
	if before == nil {
		s.log.Error().Err(s.broken).Str("file", s.path).Msg("copies for the upstream cannot be written: those that wait are lost if the process is killed")
	}
}

// write is called with writing held.
func (s *spool) write() error {
	s.mu.Lock()
	text := s.buffer
	useless := s.size + int64(len(text)) - int64(s.bytes)
	if s.broken != nil || useless > rewriteOver {
		s.mu.Unlock()
		return s.rewrite()
	}
	s.buffer, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	if len(text) == 0 {
		s.spare = text
		return nil
	}
	n, err := s.file.Write(text)
	s.size += int64(n)
	if cap(text) <= maxPooledSpool {
		s.spare = text
	}
	return err
}

// maxPooledSpool is the largest buffer that is used again.
const maxPooledSpool = 1 << 20

// rewrite puts a file in place that has what waits and nothing else. It is
// called with writing held.
func (s *spool) rewrite() error {
	s.mu.Lock()
	text := make([]byte, 0, s.bytes)
	for _, w := range slices.SortedFunc(maps.Values(s.waiting), func(a, b spooled) int { return cmp.Compare(a.seq, b.seq) }) {
		text = appendCopy(text, w.event)
	}
	s.buffer = s.buffer[:0]
	s.mu.Unlock()
	file, err := os.OpenFile(s.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(text); err == nil {
		err = os.Rename(s.path+".new", s.path)
	}
	if err != nil {
		_ = file.Close() // it is of no use
		return err
	}
	if s.file != nil {
		_ = s.file.Close() // nothing in it is needed
	}
	s.file, s.size = file, int64(len(text))
	return nil
}

// close writes what is left to be written.
func (s *spool) close() error {
	s.flush()
	s.writing.Lock()
	defer s.writing.Unlock()
	return errors.Join(s.broken, s.file.Close())
}

// stats returns how many copies wait, and how many were not in the file.
func (s *spool) stats() (waiting int, unkept uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting), s.unkept
}

// oldest returns when the first of the copies that wait was accepted; zero when
// there is none.
func (s *spool) oldest() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		if at.IsZero() || w.event.At.Before(at) {
			at = w.event.At
		}
	}
	return at
}

// Keep has the copies for the vendor of these apps kept in a directory while
// they wait, a file for each app, and takes in what an earlier process left
// there. It is called before the engine runs.
func (f *Feed) Keep(dir string, apps []string, log zerolog.Logger) error {
	if len(apps) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the directory of copies that wait for an upstream: %w", err)
	}
	for _, app := range apps {
		s, left, err := openSpool(filepath.Join(dir, app+".copies"), log.With().Str("app", app).Logger())
		if err != nil {
			return fmt.Errorf("copies of app %q that wait for its upstream: %w", app, err)
		}
		p := f.of(app)
		for _, ev := range left {
			ev.Topic.App = app
			p.begin(ev)
		}
		p.spool, p.left = s, left
	}
	return nil
}

// Close closes the files of Keep. Nothing may be offered any more.
func (f *Feed) Close() (err error) {
	for _, p := range f.apps.Range {
		if s := p.(*progress).spool; s != nil {
			err = errors.Join(err, s.close())
		}
	}
	return err
}
