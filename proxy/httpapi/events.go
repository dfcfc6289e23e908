package httpapi

import "github.com/offramp/offramp/proxy/protocol"

// postEvents publishes one event on up to 100 channels: POST
// /apps/ID/events. When the engine fails between two of them, the earlier
// ones have been accepted: the caller is told to try again, and delivery of
// those is then at least once.
func (a *API) postEvents(r *request) *refusal {
	r.fields = fields{}
	if len(r.auth.params) > signingParams {
		r.fields.readQuery(r.auth.params)
	}
	if len(r.body()) > 0 {
		body, refused := r.jsonBody()
		if refused != nil {
			return refused
		}
		r.fields.readFields(body)
	}
	p, refused := r.fields.build(r.tenant.app)
	if refused != nil {
		return refused
	}
	if refused := r.tenant.admit(1, r.now); refused != nil {
		return refused
	}
	if err := a.settings.Engine.Publish(r.background(), r.tenant.app, p.Publication); err != nil {
		return a.failed(r, err)
	}
	return a.answerEvents(r, p)
}

// signingParams is how many query parameters a signed request with a body
// has, when it has no others.
const signingParams = 5

// answerEvents answers {}, or a channels object when info was asked for.
func (a *API) answerEvents(r *request, p publication) *refusal {
	r.answer = append(r.answer, '{')
	if p.info != 0 {
		r.answer = append(r.answer, `"channels":{`...)
		for _, name := range p.Channels {
			r.answer = append(protocol.AppendString(separate(r.answer), name), ':')
			var refused *refusal
			if r.answer, refused = a.channelInfo(r, r.answer, name, p.info); refused != nil {
				return refused
			}
		}
		r.answer = append(r.answer, '}')
	}
	r.answer = append(r.answer, '}')
	return nil
}
