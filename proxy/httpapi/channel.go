package httpapi

import (
	"strconv"

	"github.com/offramp/offramp/proxy/protocol"
)

// channelName returns the channel that the path names.
func (r *request) channelName() (protocol.ChannelName, *refusal) {
	name := protocol.ChannelName(r.name)
	if !name.Valid(r.tenant.app.Limits.ChannelNameLength) {
		return "", errChannelName
	}
	return name, nil
}

// getChannel tells of one channel, occupied or not: GET
// /apps/ID/channels/NAME.
func (a *API) getChannel(r *request) *refusal {
	name, refused := r.channelName()
	if refused != nil {
		return refused
	}
	asked, refused := r.queryInfo(infoUserCount | infoSubscriptionCount | infoCache)
	if refused != nil {
		return refused
	}
	switch missing := asked &^ asked.applicable(r.tenant.app, name); {
	case missing&infoUserCount != 0:
		return errUserCount
	case missing&infoSubscriptionCount != 0:
		return errSubscriptionCount
	case missing&infoCache != 0:
		return errCache
	}
	state, err := a.settings.Engine.Channel(r.background(), r.topic(name))
	if err != nil {
		return a.failed(r, err)
	}
	r.answer = strconv.AppendBool(append(r.answer, `{"occupied":`...), state.Occupied)
	r.answer = append(appendInfo(r.answer, &state, asked), '}')
	return nil
}
