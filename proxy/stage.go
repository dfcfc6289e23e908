package proxy

import (
	"fmt"
	"strings"

	"github.com/offramp/offramp/proxy/protocol"
)

// Leg names one of the systems attached to an app: the vendor, the gateway's
// own engine, or a backend by its configured name.
type Leg string

// The two legs that are not backends.
const (
	LegEngine Leg = "engine"
	LegVendor Leg = "vendor"
)

// Stage is how far an app, or a channel rule of it, has moved away from the
// vendor (migration.md 1.2).
type Stage uint8

// The stages, in order of progress.
const (
	StageObserve Stage = iota + 1 // raw relay to the vendor; only watched
	StageShadow                   // raw relay; engine and backends receive copies
	StageMirror                   // terminated relay; engine serves opted-in users; bridge on
	StageCanary                   // engine serves a sticky share
	StageCutover                  // engine serves all; the vendor still receives copies
	StageExited                   // the vendor is not contacted
)

var stageNames = [...]string{
	StageObserve: "observe", StageShadow: "shadow", StageMirror: "mirror",
	StageCanary: "canary", StageCutover: "cutover", StageExited: "exited",
}

// String returns the stage's name in configuration and commands.
func (s Stage) String() string {
	if s < StageObserve || s > StageExited {
		return fmt.Sprintf("stage(%d)", uint8(s))
	}
	return stageNames[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Stage) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStage(string(text))
	return err
}

// ParseStage returns the stage of that name.
func ParseStage(name string) (Stage, error) {
	for s := StageObserve; s <= StageExited; s++ {
		if stageNames[s] == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("unknown stage %q: use one of %s", name, strings.Join(stageNames[StageObserve:], ", "))
}

// Relayed reports whether clients are served by raw relay: frames are copied
// byte for byte between the client and the vendor.
func (s Stage) Relayed() bool { return s == StageObserve || s == StageShadow }

// Sticky is what a canary share is taken of.
type Sticky string

// The kinds of canary share.
const (
	ByChannel Sticky = "channel" // whole channels, by hash of the name
	ByUser    Sticky = "user"    // whole users, by hash of the user id
)

// Rule puts the channels that match Channels into Stage.
type Rule struct {
	Channels string // name pattern, "*" matches any run of characters
	Stage    Stage
	Percent  int    // canary: share on the engine, 0..100
	By       Sticky // canary: what the share is taken of
}

// Matches reports whether the rule applies to a channel.
func (r Rule) Matches(name protocol.ChannelName) bool { return MatchPattern(r.Channels, string(name)) }

// MatchPattern reports whether name matches pattern, in which "*" stands for
// any run of characters, also an empty one. There are no other wildcards, as
// every other character may occur in a channel name.
func MatchPattern(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], more
	}
}
