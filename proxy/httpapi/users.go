package httpapi

import "github.com/offramp/offramp/proxy/protocol"

// getUsers lists the users of a presence channel: GET
// /apps/ID/channels/NAME/users.
func (a *API) getUsers(r *request) *refusal {
	if names := r.auth.extraneous(); names != nil {
		return errExtraneous(names)
	}
	name, refused := r.channelName()
	if refused != nil {
		return refused
	}
	if name.Kind() != protocol.Presence {
		return errUsers
	}
	ids, err := a.settings.Engine.Users(r.background(), r.topic(name))
	if err != nil {
		return a.failed(r, err)
	}
	r.answer = append(r.answer, `{"users":[`...)
	for _, id := range ids {
		r.answer = append(separate(r.answer), `{"id":`...)
		r.answer = append(protocol.AppendString(r.answer, id), '}')
	}
	r.answer = append(r.answer, "]}"...)
	return nil
}
