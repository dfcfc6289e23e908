package httpapi

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
)

// maxChannels is how many channels one publish may name (vendor
// documentation: "Channels HTTP API").
const maxChannels = 100

// fields are the parameters of one event as raw JSON values; nil where a
// parameter is absent or null.
type fields struct {
	name, data, channel, channels, socketID, info []byte
}

func (f *fields) set(key, value []byte) {
	if string(value) == "null" {
		value = nil
	}
	switch string(key) {
	case "name":
		f.name = value
	case "data":
		f.data = value
	case "channel":
		f.channel = value
	case "channels":
		f.channels = value
	case "socket_id":
		f.socketID = value
	case "info":
		f.info = value
	}
}

// readFields reads an event's parameters from a JSON object.
func (f *fields) readFields(object []byte) {
	for key, value := range protocol.Fields(object) {
		f.set(key, value)
	}
}

// readQuery reads them from a query string, which the vendor allows beside a
// body: vendor documentation, "Channels HTTP API", "Request parameters".
func (f *fields) readQuery(params []protocol.Param) {
	var channels []byte
	for _, p := range params {
		switch p.Key {
		case "channels[]":
			channels = append(protocol.AppendString(append(channels, ','), p.Value), ']')
			channels[0] = '['
			f.channels = channels
			channels = channels[:len(channels)-1]
		case "name", "data", "channel", "socket_id", "info":
			f.set([]byte(p.Key), protocol.AppendString(nil, p.Value))
		}
	}
}

// jsonBody returns a request's body when it is one JSON object.
func (r *request) jsonBody() ([]byte, *refusal) {
	body := protocol.Trim(r.body())
	if len(body) == 0 || body[0] != '{' || !utf8.Valid(body) || !protocol.ValidJSON(body) {
		return nil, errInvalidJSON
	}
	return body, nil
}

// publication is an event that passed every check.
type publication struct {
	engine.Publication
	info info
}

// addEvent adds the event of the fields that were read to the request's.
func (r *request) addEvent() *refusal {
	p, refused := r.fields.build(r.tenant.app)
	if refused == nil {
		p.Via = protocol.ClipVia(string(r.ctx.Request.Header.Peek(protocol.ViaHeader)))
		r.batch = append(r.batch, p)
	}
	return refused
}

// build checks an event's parameters and copies what is kept of them.
func (f *fields) build(app *proxy.App) (publication, *refusal) {
	var p publication
	var refused *refusal
	if p.Name, refused = f.eventName(); refused != nil {
		return p, refused
	}
	if p.Data, refused = f.eventData(app.Limits.EventBytes); refused != nil {
		return p, refused
	}
	if p.Channels, refused = f.channelNames(app.Limits.ChannelNameLength); refused != nil {
		return p, refused
	}
	if p.Except, refused = f.except(); refused != nil {
		return p, refused
	}
	p.info, refused = parseInfo(f.info, infoUserCount|infoSubscriptionCount)
	return p, refused
}

func (f *fields) eventName() (string, *refusal) {
	name, refused := text("name", f.name)
	if refused != nil {
		return "", refused
	}
	if name == "" {
		return "", errMissing("name")
	}
	return name, checkEventName(name)
}

func checkEventName(name string) *refusal {
	if len(name) > protocol.MaxEventNameLength && utf8.RuneCountInString(name) > protocol.MaxEventNameLength {
		return errNameLength(protocol.MaxEventNameLength)
	}
	if strings.HasPrefix(name, "pusher:") || strings.HasPrefix(name, "pusher_internal:") {
		return errReservedName
	}
	return nil
}

// eventData returns what the "data" string of the delivered frame holds: the
// text of a string, and of anything else its JSON text, as publishers without
// an SDK send objects.
func (f *fields) eventData(limit int) ([]byte, *refusal) {
	if f.data == nil {
		return nil, errMissing("data")
	}
	var data []byte
	if f.data[0] == '"' {
		data = protocol.AppendText(make([]byte, 0, len(f.data)), f.data)
	} else {
		data = bytes.Clone(f.data)
	}
	if len(data) > limit {
		return nil, errData(limit)
	}
	return data, nil
}

// channelNames returns the distinct channels of an event, in order.
func (f *fields) channelNames(maxLength int) ([]protocol.ChannelName, *refusal) {
	if f.channels == nil {
		name, refused := f.channelName(maxLength)
		if refused != nil {
			return nil, refused
		}
		return []protocol.ChannelName{name}, nil
	}
	if f.channels[0] != '[' {
		return nil, errType("channels", "an array of strings")
	}
	names, refused := distinctNames(f.channels, maxLength)
	switch {
	case refused != nil:
		return nil, refused
	case len(names) == 0:
		return nil, errMissing("channel")
	case len(names) > 1 && slices.ContainsFunc(names, encrypted):
		return nil, errEncrypted
	default:
		return names, nil
	}
}

func distinctNames(array []byte, maxLength int) ([]protocol.ChannelName, *refusal) {
	count := 0
	for range protocol.Elements(array) {
		count++
	}
	if count > maxChannels {
		return nil, errChannels(count)
	}
	names := make([]protocol.ChannelName, 0, count)
	for element := range protocol.Elements(array) {
		if element[0] != '"' {
			return nil, errType("channels", "an array of strings")
		}
		name, refused := checkChannel(element, maxLength)
		if refused != nil {
			return nil, refused
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func encrypted(name protocol.ChannelName) bool { return name.Kind() == protocol.Encrypted }

func (f *fields) channelName(maxLength int) (protocol.ChannelName, *refusal) {
	switch {
	case f.channel == nil:
		return "", errMissing("channel")
	case f.channel[0] != '"':
		return "", errType("channel", "a string")
	default:
		return checkChannel(f.channel, maxLength)
	}
}

func checkChannel(quoted []byte, maxLength int) (protocol.ChannelName, *refusal) {
	s, _ := text("channel", quoted)
	if name := protocol.ChannelName(s); name.Valid(maxLength) {
		return name, nil
	}
	return "", errChannelName
}

func (f *fields) except() (protocol.SocketID, *refusal) {
	id, refused := text("socket_id", f.socketID)
	if refused != nil || id == "" {
		return "", refused
	}
	if !protocol.SocketID(id).Valid() {
		return "", errSocketID
	}
	return protocol.SocketID(id), nil
}

// text returns the text of a JSON string; nil has the empty one.
func text(parameter string, raw []byte) (string, *refusal) {
	if raw == nil {
		return "", nil
	}
	if raw[0] != '"' {
		return "", errType(parameter, "a string")
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	return string(protocol.AppendText(nil, raw)), nil
}
