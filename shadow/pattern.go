package shadow

import (
	"regexp"
	"strings"

	"github.com/offramp/offramp/proxy/protocol"
)

const other = "other"

var (
	uuidRun = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	// A run of hexadecimal digits is an identifier when it is long, and holds
	// both digits and letters: "facade" is a word and "2024" a number.
	hexRun   = regexp.MustCompile(`[0-9a-fA-F]{8,}`)
	digitRun = regexp.MustCompile(`[0-9]+`)
)

// learnPattern replaces what tells channels of one kind apart by what it is:
// "presence-room-17" becomes "presence-room-{int}".
func learnPattern(name protocol.ChannelName) string {
	if _, ok := name.UserID(); ok {
		return "#server-to-user-{user}"
	}
	s := uuidRun.ReplaceAllString(string(name), "{uuid}")
	s = hexRun.ReplaceAllStringFunc(s, func(run string) string {
		if strings.ContainsAny(run, "0123456789") && strings.ContainsAny(run, "abcdefABCDEF") {
			return "{hex}"
		}
		return run
	})
	return digitRun.ReplaceAllString(s, "{int}")
}

// typeOf returns the channel type of a cell.
func typeOf(name protocol.ChannelName) string {
	kind := name.Kind().String()
	if name.Cached() {
		return kind + "-cache"
	}
	return kind
}

// names numbers a bounded set of strings, first come first served. Number 0
// is "other", for all that came after the set was full.
type names struct {
	limit  int
	byText map[string]uint32
	texts  []string
}

func newNames(limit int) *names {
	return &names{limit: limit, byText: make(map[string]uint32), texts: []string{other}}
}

func (n *names) number(text string) uint32 {
	if i, ok := n.byText[text]; ok {
		return i
	}
	if len(n.texts) > n.limit {
		return 0
	}
	i := uint32(len(n.texts))
	text = strings.Clone(text) // not a view into a frame
	n.byText[text] = i
	n.texts = append(n.texts, text)
	return i
}

func (n *names) text(i uint32) string { return n.texts[i] }

// Pattern returns the learned pattern of a channel name, in which what tells
// channels of one kind apart is replaced by what it is: {int}, {hex}, {uuid}.
func Pattern(name protocol.ChannelName) string { return learnPattern(name) }

// IsTraffic reports whether a cell is about an app's events. The others are
// about members, decisions, webhooks, and frames.
func IsTraffic(k Key) bool { return !strings.HasPrefix(k.Event, "pusher:") }

// ChannelType returns the type of a channel as reports name it, such as
// "presence" or "private-cache".
func ChannelType(name protocol.ChannelName) string { return typeOf(name) }
