package httpapi

import "github.com/offramp/offramp/proxy/protocol"

// readBatch reads up to ten events, each on one channel: POST
// /apps/ID/batch_events.
func (r *request) readBatch() *refusal {
	var room [maxBatch][]byte
	elements, refused := r.batchElements(&room)
	if refused != nil {
		return refused
	}
	for _, element := range elements {
		if element[0] != '{' {
			return errType("batch", "an array of objects")
		}
		r.fields = fields{}
		r.fields.readFields(element)
		r.fields.channels = nil // an event of a batch has one channel
		if refused := r.addEvent(); refused != nil {
			return refused
		}
	}
	return nil
}

// batchElements returns the 1 to 10 raw events of the body.
func (r *request) batchElements(room *[maxBatch][]byte) ([][]byte, *refusal) {
	body, refused := r.jsonBody()
	if refused != nil {
		return nil, refused
	}
	var list []byte
	for key, value := range protocol.Fields(body) {
		if string(key) == "batch" {
			list = value
		}
	}
	if list == nil || string(list) == "null" {
		return nil, errMissing("batch")
	}
	if list[0] != '[' {
		return nil, errType("batch", "an array of objects")
	}
	count := 0
	for element := range protocol.Elements(list) {
		if count < maxBatch {
			room[count] = element
		}
		count++
	}
	switch {
	case count == 0:
		return nil, errEmptyBatch
	case count > maxBatch:
		return nil, errBatch(count)
	default:
		return room[:count], nil
	}
}

// answerBatch answers {}, or one object per event when any asked for info.
func (a *API) answerBatch(r *request) *refusal {
	var asked info
	for i := range r.batch {
		asked |= r.batch[i].info
	}
	r.answer = append(r.answer, '{')
	if asked != 0 {
		r.answer = append(r.answer, `"batch":[`...)
		for i := range r.batch {
			var refused *refusal
			r.answer, refused = a.channelInfo(r, separate(r.answer), r.batch[i].Channels[0], r.batch[i].info)
			if refused != nil {
				return refused
			}
		}
		r.answer = append(r.answer, ']')
	}
	r.answer = append(r.answer, '}')
	return nil
}
