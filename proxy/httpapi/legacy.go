package httpapi

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
)

// readLegacy reads the raw body as the data of one event: POST
// /apps/ID/channels/NAME/events?name=E&socket_id=S, deprecated. It is answered
// 202 with nothing, which the SDKs that used it read as done (vendor
// documentation: "REST API (deprecated)").
func (r *request) readLegacy() *refusal {
	channel, refused := r.channelName()
	if refused != nil {
		return refused
	}
	name, _ := r.auth.param("name")
	if name == "" {
		return errMissing("name")
	}
	if refused := checkEventName(name); refused != nil {
		return refused
	}
	socket, _ := r.auth.param("socket_id")
	if socket != "" && !protocol.SocketID(socket).Valid() {
		return errSocketID
	}
	if !utf8.Valid(r.body()) {
		return errInvalidUTF8
	}
	if limit := r.tenant.app.Limits.EventBytes; len(r.body()) > limit {
		return errData(limit)
	}
	r.batch = append(r.batch, publication{Publication: engine.Publication{
		Channels: []protocol.ChannelName{channel}, Name: name, Data: bytes.Clone(r.body()), Except: protocol.SocketID(socket),
	}})
	return nil
}

func (*API) answerLegacy(*request) *refusal { return nil }

// getStats tells the counts of one channel: GET /apps/ID/channels/NAME/stats,
// deprecated since 2012.
func (a *API) getStats(r *request) *refusal {
	name, refused := r.channelName()
	if refused != nil {
		return refused
	}
	state, err := a.settings.Engine.Channel(r.background(), r.topic(name))
	if err != nil {
		return a.failed(r, err)
	}
	r.answer = strconv.AppendBool(append(r.answer, `{"occupied":`...), state.Occupied)
	if name.Kind() == protocol.Presence {
		r.answer = appendInfo(r.answer, &state, infoUserCount)
	}
	r.answer = strconv.AppendInt(append(r.answer, `,"connection_count":`...), int64(state.SubscriptionCount), 10)
	r.answer = append(r.answer, '}')
	return nil
}
