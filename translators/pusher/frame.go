package pusher

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// frame is what a server sends.
type frame struct {
	event   string
	channel protocol.ChannelName
	data    []byte // the text of the data string, or the raw JSON of anything else
	user    string
}

// decodeFrame reads a server's frame.
func decodeFrame(raw []byte) (frame, error) {
	basic, bad := protocol.Decode(raw)
	if bad != nil {
		return frame{}, bad
	}
	data, _ := basic.ClientData()
	f := frame{event: basic.Event, channel: protocol.ChannelName(basic.Channel), data: data}
	for key, value := range protocol.Fields(raw) {
		if string(key) == "user_id" && len(value) > 0 {
			f.user = string(value)
			if value[0] == '"' {
				f.user = string(protocol.AppendText(nil, value))
			}
		}
	}
	return f, nil
}

// envelope returns a delivered event. Who published it, and under which id,
// is not known.
func (f frame) envelope() translators.Envelope {
	e := translators.Envelope{Channel: f.channel, Event: f.event, Data: f.data, UserID: f.user}
	if (protocol.Frame{Event: f.event}).IsClientEvent() {
		e.Kind = translators.KindClientEvent
	}
	return e
}

// established is what a server says first.
type established struct {
	socket  protocol.SocketID
	timeout time.Duration // of silence before a ping is due
}

// Bounds of the activity timeout that a server may ask for.
const (
	minActivityTimeout     = time.Second
	maxActivityTimeout     = 10 * time.Minute
	defaultActivityTimeout = 120 * time.Second
)

func decodeEstablished(raw []byte) (established, error) {
	f, err := decodeFrame(raw)
	if err != nil {
		return established{}, err
	}
	if f.event == "pusher:error" {
		return established{}, fmt.Errorf("the server refuses the connection: %s", decodeError(f.data))
	}
	var data struct {
		Socket  protocol.SocketID `json:"socket_id"`
		Timeout float64           `json:"activity_timeout"`
	}
	if f.event != "pusher:connection_established" || json.Unmarshal(f.data, &data) != nil || !data.Socket.Valid() {
		return established{}, fmt.Errorf("the server began with %q instead of pusher:connection_established and a socket id", f.event)
	}
	e := established{socket: data.Socket, timeout: defaultActivityTimeout}
	if data.Timeout > 0 {
		seconds := min(data.Timeout, maxActivityTimeout.Seconds())
		e.timeout = max(minActivityTimeout, time.Duration(seconds*float64(time.Second)))
	}
	return e, nil
}

// decodeError returns the message of a pusher:error.
func decodeError(data []byte) string {
	var e struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Error   string `json:"error"` // of a subscription error
	}
	if json.Unmarshal(data, &e) != nil {
		return string(data[:min(len(data), maxRefusal)])
	}
	switch {
	case e.Message == "":
		return e.Error
	case e.Code != 0:
		return fmt.Sprintf("%d %s", e.Code, e.Message)
	}
	return e.Message
}

// signer makes a tap's own frames.
type signer struct {
	config Config
	socket protocol.SocketID
}

func (s signer) auth(text string) string {
	return s.config.Key + ":" + protocol.Sign(s.config.Secret.Reveal(), text)
}

// subscribe returns the frame that subscribes to a channel.
func (s signer) subscribe(channel protocol.ChannelName) any {
	data := map[string]string{"channel": string(channel)}
	if signed(channel) {
		var member *string
		if channel.Kind() == protocol.Presence {
			text := string(protocol.AppendString([]byte(`{"user_id":`), s.config.TapUserID)) + "}"
			member, data["channel_data"] = &text, text
		}
		data["auth"] = s.auth(protocol.ChannelString(s.socket, channel, member))
	}
	return message{"pusher:subscribe", data}
}

// signed reports whether a subscription is signed. Some servers, soketi among
// them, look for the prefixes anywhere in a name; others do not mind.
func signed(channel protocol.ChannelName) bool {
	return strings.Contains(string(channel), "private-") || strings.Contains(string(channel), "presence-")
}

func (signer) unsubscribe(channel protocol.ChannelName) any {
	return message{"pusher:unsubscribe", map[string]string{"channel": string(channel)}}
}

// signIn returns the frame that makes the connection a user's.
func (s signer) signIn(user string) any {
	data := string(protocol.AppendString([]byte(`{"id":`), user)) + "}"
	return message{"pusher:signin", map[string]string{"user_data": data, "auth": s.auth(protocol.UserString(s.socket, data))}}
}

// message is a frame to a server.
type message struct {
	Event string `json:"event"`
	Data  any    `json:"data"`
}
