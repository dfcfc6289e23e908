package upstream

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	// sampledFrames is how many frames of a kind are described per client: a
	// server builds them all alike.
	sampledFrames = 8
	// maxFrameKinds bounds the kinds, and maxFirsts the channels, that are told
	// apart per client.
	maxFrameKinds = 64
	maxFirsts     = 1024
	// maxStructure bounds the text of a structure.
	maxStructure = 400
)

// structures samples how the frames are built that one client is sent, or its
// double. It is not for several goroutines.
type structures struct {
	seen   map[string]int                // by kind
	opened map[protocol.ChannelName]bool // a frame of the channel was there
}

// see returns the records that a frame is worth: how it is built, and which
// was the first of its channel.
func (s *structures) see(text []byte, f serverFrame) []proxy.Record {
	if s.seen == nil {
		s.seen, s.opened = make(map[string]int), make(map[protocol.ChannelName]bool)
	}
	kind := f.event
	switch {
	case f.internal():
	case strings.HasPrefix(f.event, protocol.ClientEventPrefix):
		kind = "client event"
	default:
		kind = "event"
	}
	var out []proxy.Record
	if f.channel != "" && !s.opened[f.channel] && len(s.opened) < maxFirsts {
		s.opened[f.channel] = true
		out = append(out, proxy.Record{Kind: proxy.KindFrame, Topic: proxy.Topic{Channel: f.channel}, Action: "first frame", Text: kind})
	}
	if n, known := s.seen[kind]; n < sampledFrames && (known || len(s.seen) < maxFrameKinds) {
		s.seen[kind]++
		out = append(out, proxy.Record{Kind: proxy.KindFrame, Topic: proxy.Topic{Channel: f.channel}, Action: kind, Text: structure(text, f.internal())})
	}
	return out
}

// structure describes a frame by its keys and types, in order of the keys, and
// by codes of errors. Of what an app's own people say it tells only whether it
// is a string.
func structure(text []byte, internal bool) string {
	var b strings.Builder
	top := gjson.ParseBytes(text)
	fields := make([]string, 0, 4)
	top.ForEach(func(key, value gjson.Result) bool {
		fields = append(fields, key.String()+":"+structureOfField(key.String(), value, internal))
		return true
	})
	writeFields(&b, fields)
	return strings.ToValidUTF8(b.String()[:min(b.Len(), maxStructure)], "")
}

func structureOfField(key string, value gjson.Result, internal bool) string {
	if key != "data" || !internal {
		return typeName(value)
	}
	if value.Type == gjson.String && gjson.Valid(value.String()) {
		if inner := gjson.Parse(value.String()); inner.IsObject() {
			return strconv.Quote(structureOf("", inner))
		}
	}
	return structureOf("", value)
}

// opaque are the members that hold an app's own data, or names as keys.
var opaque = []string{"user_info", "hash", "user_data", "ids", "user_ids"}

func structureOf(key string, value gjson.Result) string {
	switch {
	case key == "code" && value.Type == gjson.Number:
		return value.Raw
	case slices.Contains(opaque, key):
		return typeName(value)
	case value.IsObject():
		var b strings.Builder
		var fields []string
		value.ForEach(func(key, value gjson.Result) bool {
			fields = append(fields, key.String()+":"+structureOf(key.String(), value))
			return len(fields) < maxFrameKinds
		})
		writeFields(&b, fields)
		return b.String()
	case value.IsArray():
		if first := value.Get("0"); first.IsObject() {
			return "[" + structureOf("", first) + "]"
		}
	}
	return typeName(value)
}

func writeFields(b *strings.Builder, fields []string) {
	slices.Sort(fields)
	b.WriteByte('{')
	b.WriteString(strings.Join(fields, ","))
	b.WriteByte('}')
}

func typeName(value gjson.Result) string {
	switch {
	case value.IsObject():
		return "object"
	case value.IsArray():
		return "array"
	case value.IsBool():
		return "bool"
	}
	switch value.Type {
	case gjson.String:
		return "string"
	case gjson.Number:
		return "number"
	default:
		return "null"
	}
}
