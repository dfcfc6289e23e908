package httpapi

import "github.com/offramp/offramp/proxy/protocol"

// readEvent reads one event on up to 100 channels: POST /apps/ID/events.
func (r *request) readEvent() *refusal {
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
	return r.addEvent()
}

// signingParams is how many query parameters a signed request with a body
// has, when it has no others.
const signingParams = 5

// answerEvent answers {}, or a channels object when info was asked for.
func (a *API) answerEvent(r *request) *refusal {
	p := &r.batch[0]
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
