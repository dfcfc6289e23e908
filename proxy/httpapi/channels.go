package httpapi

import (
	"strings"

	"github.com/offramp/offramp/proxy/protocol"
)

// getChannels lists the occupied channels: GET /apps/ID/channels.
func (a *API) getChannels(r *request) *refusal {
	prefix, _ := r.auth.param("filter_by_prefix")
	asked, refused := r.queryInfo(infoUserCount)
	if refused != nil {
		return refused
	}
	if asked != 0 && !strings.HasPrefix(prefix, "presence-") {
		return errUserCountPrefix
	}
	states, err := a.settings.Engine.Channels(r.background(), r.tenant.app.ID, prefix)
	if err != nil {
		return a.failed(r, err)
	}
	r.answer = append(r.answer, `{"channels":{`...)
	for i := range states {
		r.answer = protocol.AppendString(separate(r.answer), states[i].Name)
		r.answer = append(appendInfo(append(r.answer, ":{"...), &states[i], asked), '}')
	}
	r.answer = append(r.answer, "}}"...)
	return nil
}
