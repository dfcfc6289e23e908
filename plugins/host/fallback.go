package host

import (
	"fmt"
	"os"
	"time"

	"github.com/offramp/offramp/translators"
)

// probation is how long a new version must serve before the executable that it
// took over from is let go.
const probation = 5 * time.Minute

// fallback is the executable of the version before the one that serves. The
// file keeps it although another one has its place.
type fallback struct {
	file    *os.File
	command Command
	about   translators.Description
	since   time.Time // when its successor took over
}

// keep holds on to the executable of a tenant that is about to end. Where
// that is not possible, there is nothing to fall back to.
func (l *link) keep(t *tenant, now time.Time) {
	l.letGo()
	file, err := os.Open(fmt.Sprintf("/proc/%d/exe", t.process.PID()))
	if err != nil {
		return
	}
	c := t.process.command
	c.Path = fmt.Sprintf("/proc/self/fd/%d", file.Fd()) // as it is when the new process is made
	l.fallback = &fallback{file: file, command: c, about: t.about, since: now}
}

// letGo forgets the executable that was kept.
func (l *link) letGo() {
	if l.fallback != nil {
		_ = l.fallback.file.Close() // it was only read
		l.fallback = nil
	}
}

// fallBack has the version before run again, if the one that failed has not
// proven itself yet.
func (l *link) fallBack(cause error, now time.Time) {
	f := l.fallback
	if f == nil || l.returned {
		return
	}
	if now.Sub(f.since) > probation {
		l.letGo()
		return
	}
	l.returned = true
	l.change(func(s *Status) {
		s.SwapsRefused++
		s.SwapError = fmt.Sprintf("it failed %s after it took over, and version %s runs again: %v",
			now.Sub(f.since).Round(time.Millisecond), f.about.Version, cause)
	})
	l.log.Error().Err(cause).Str("to", f.about.Version).Msg("new version of the plugin failed; the one before runs again")
}
