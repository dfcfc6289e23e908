package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

const (
	// streamWrite bounds one write to a stream; a reader that is slower is
	// gone.
	streamWrite = 10 * time.Second
	// keepAlive is how often a silent stream says that it is there.
	keepAlive = 15 * time.Second
	// maxShownData is how much of an event's data a stream shows.
	maxShownData = 4 << 10
)

// recordView is a record as the stream shows it.
type recordView struct {
	Kind    string               `json:"kind"`
	At      time.Time            `json:"at"`
	From    time.Time            `json:"from,omitzero"`
	Leg     proxy.Leg            `json:"leg,omitempty"`
	App     string               `json:"app,omitempty"`
	Channel protocol.ChannelName `json:"channel,omitempty"`
	Socket  protocol.SocketID    `json:"socket,omitempty"`
	UserID  string               `json:"user_id,omitempty"`
	Event   *eventView           `json:"event,omitempty"`
	Client  *clientView          `json:"client,omitempty"`
	Count   int                  `json:"count,omitempty"`
	Code    int                  `json:"code,omitempty"`
	Action  string               `json:"action,omitempty"`
	Text    string               `json:"text,omitempty"`
}

type eventView struct {
	ID    string `json:"id,omitempty"`
	Name  string `json:"name"`
	Data  string `json:"data"` // its beginning
	Bytes int    `json:"bytes"`
}

type clientView struct {
	Key       string `json:"key"`
	Library   string `json:"library,omitempty"`
	Version   string `json:"version,omitempty"`
	Protocol  int    `json:"protocol"`
	Transport string `json:"transport"`
	Remote    string `json:"remote"`
	TLS       bool   `json:"tls"`
	Via       string `json:"via,omitempty"`
}

// events streams the live feed as server-sent events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if s.Feed == nil {
		absent(w, "live feed")
		return
	}
	kinds, ok := kindsOf(w, r)
	if !ok {
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		fail(w, http.StatusServiceUnavailable, "too many streams are open", "close one of the consoles")
		return
	}
	records := s.Feed.Subscribe(r.Context(), FeedFilter{App: r.FormValue("app"), Channel: r.FormValue("channel"), Kinds: kinds})
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	s.stream(w, r, records)
}

// stream writes records until the reader or the gateway leaves.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, records <-chan proxy.Record) {
	out := http.NewResponseController(w)
	write := func(text []byte) bool {
		if out.SetWriteDeadline(time.Now().Add(streamWrite)) != nil {
			return false
		}
		if _, err := w.Write(text); err != nil {
			return false
		}
		return len(records) > 0 || out.Flush() == nil // a burst is one write
	}
	if !write([]byte(": connected\n\n")) || out.Flush() != nil {
		return
	}
	beat := time.NewTicker(keepAlive)
	defer beat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			if !write([]byte(": still here\n\n")) {
				return
			}
		case record := <-records:
			text, err := json.Marshal(shown(record))
			if err != nil {
				s.Log.Error().Err(err).Msg("record cannot be encoded")
				return
			}
			if !write(append(append([]byte("event: record\ndata: "), text...), "\n\n"...)) {
				return
			}
		}
	}
}

// shown returns the view of a record.
func shown(r proxy.Record) recordView {
	v := recordView{
		Kind: r.Kind.String(), At: r.At, From: r.From, Leg: r.Leg, App: r.Topic.App, Channel: r.Topic.Channel,
		Socket: r.Socket, UserID: r.UserID, Client: (*clientView)(r.Client), Count: r.Count, Code: r.Code, Action: r.Action, Text: r.Text,
	}
	if ev := r.Event; ev != nil {
		v.Event = &eventView{Name: ev.Name, Bytes: len(ev.Data), Data: clip(string(ev.Data[:min(len(ev.Data), maxShownData+1)]), maxShownData)}
		if !ev.ID.IsZero() {
			v.Event.ID = ev.ID.String()
		}
		if v.App == "" {
			v.App, v.Channel = ev.Topic.App, ev.Topic.Channel
		}
	}
	return v
}
