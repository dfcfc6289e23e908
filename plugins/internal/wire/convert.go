package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// FromEnvelope returns an envelope's wire form, which shares its data.
func FromEnvelope(e translators.Envelope) *Envelope {
	return FromEnvelopes([]translators.Envelope{e})[0]
}

// FromEnvelopes returns the wire form of a batch. Its parts are allocated
// together.
func FromEnvelopes(items []translators.Envelope) []*Envelope {
	wired, all := make([]*Envelope, len(items)), make([]Envelope, len(items))
	ids := make([]byte, 0, idBytes*len(items))
	for i := range items {
		before := len(ids)
		ids = appendID(ids, items[i].ID)
		wired[i] = &all[i]
		fill(wired[i], &items[i], ids[before:len(ids):len(ids)])
	}
	return wired
}

func fill(to *Envelope, e *translators.Envelope, id []byte) {
	to.MirrorId = id
	to.AppId, to.Channel, to.Event, to.Data = e.App, string(e.Channel), e.Event, e.Data
	to.UserId, to.ExcludeSocket, to.Kind = e.UserID, string(e.Except), Kind(e.Kind)
	to.Lane, to.Seq, to.Origin, to.Hops = e.Lane, e.Seq, e.Origin, e.Hops
	to.IngressUnixNano, to.DeadlineUnixNano = fromTime(e.Ingress), fromTime(e.Deadline)
	to.Attrs = e.Attrs
}

// ToEnvelope is the inverse of FromEnvelope.
func ToEnvelope(e *Envelope) translators.Envelope {
	return translators.Envelope{
		ID:       toID(e.GetMirrorId()),
		App:      e.GetAppId(),
		Channel:  protocol.ChannelName(e.GetChannel()),
		Event:    e.GetEvent(),
		Data:     e.GetData(),
		UserID:   e.GetUserId(),
		Except:   protocol.SocketID(e.GetExcludeSocket()),
		Kind:     translators.Kind(e.GetKind()),
		Lane:     e.GetLane(),
		Seq:      e.GetSeq(),
		Origin:   e.GetOrigin(),
		Hops:     e.GetHops(),
		Ingress:  toTime(e.GetIngressUnixNano()),
		Deadline: toTime(e.GetDeadlineUnixNano()),
		Attrs:    e.GetAttrs(),
	}
}

// FromResult returns a result's wire form.
func FromResult(r translators.Result) *Result {
	return &Result{
		Code:         Code(r.Code),
		NativeId:     r.NativeID,
		Detail:       r.Detail,
		RetryAfterMs: uint32(max(0, r.RetryAfter.Milliseconds())),
	}
}

// ToResult is the inverse of FromResult. A code that this side does not know
// becomes CodeUnsupported.
func ToResult(r *Result) translators.Result {
	code := translators.Code(r.GetCode())
	if r.GetCode() <= Code_CODE_UNSPECIFIED || r.GetCode() > Code_FATAL {
		code = translators.CodeUnsupported
	}
	return translators.Result{
		Code:       code,
		NativeID:   r.GetNativeId(),
		Detail:     r.GetDetail(),
		RetryAfter: time.Duration(r.GetRetryAfterMs()) * time.Millisecond,
	}
}

// FromState returns the wire form of a channel's state.
func FromState(channel protocol.ChannelName, s translators.ChannelState) *ChannelState {
	return &ChannelState{
		Channel:      string(channel),
		State:        State(s.State),
		FromUnixNano: fromTime(s.From),
		ToUnixNano:   fromTime(s.To),
		Detail:       s.Detail,
	}
}

// ToState is the inverse of FromState. A state that this side does not know
// becomes StateError, so that nobody relies on it.
func ToState(s *ChannelState) (protocol.ChannelName, translators.ChannelState) {
	state := translators.StateError
	if s.GetState() >= State_ATTACHED && s.GetState() <= State_ERROR {
		state = translators.State(s.GetState())
	}
	return protocol.ChannelName(s.GetChannel()), translators.ChannelState{
		State:  state,
		From:   toTime(s.GetFromUnixNano()),
		To:     toTime(s.GetToUnixNano()),
		Detail: s.GetDetail(),
	}
}

// FromReport returns a report's wire form.
func FromReport(r translators.Report) *Status {
	return &Status{Healthy: r.Healthy, Detail: r.Detail, Counters: r.Counters}
}

// ToReport is the inverse of FromReport.
func ToReport(s *Status) translators.Report {
	return translators.Report{Healthy: s.GetHealthy(), Detail: s.GetDetail(), Counters: s.GetCounters()}
}

// FromProblems returns the wire form of problems.
func FromProblems(ps translators.Problems) []*Problem {
	wired := make([]*Problem, len(ps))
	for i, p := range ps {
		wired[i] = &Problem{Path: p.Path, What: p.What}
	}
	return wired
}

// ToProblems is the inverse of FromProblems; none is nil.
func ToProblems(ps []*Problem) translators.Problems {
	var problems translators.Problems
	for _, p := range ps {
		problems = append(problems, translators.Problem{Path: p.GetPath(), What: p.GetWhat()})
	}
	return problems
}

// FromMembers returns the wire form of members.
func FromMembers(ms []proxy.Member) []*Member {
	wired := make([]*Member, len(ms))
	for i, m := range ms {
		wired[i] = &Member{UserId: m.UserID, Info: m.Info}
	}
	return wired
}

// ToMembers is the inverse of FromMembers; none is nil.
func ToMembers(ms []*Member) []proxy.Member {
	var members []proxy.Member
	for _, m := range ms {
		members = append(members, proxy.Member{UserID: m.GetUserId(), Info: m.GetInfo()})
	}
	return members
}

// FromNative returns the wire form of a preview.
func FromNative(n translators.Native, losses []translators.Loss) *TranslateResponse {
	response := &TranslateResponse{Native: &Native{Destination: n.Destination, Headers: n.Headers, Body: n.Body}}
	for _, l := range losses {
		response.Losses = append(response.Losses, &Loss{Field: l.Field, Detail: l.Detail})
	}
	return response
}

// ToNative is the inverse of FromNative.
func ToNative(r *TranslateResponse) (translators.Native, []translators.Loss) {
	n := r.GetNative()
	var losses []translators.Loss
	for _, l := range r.GetLosses() {
		losses = append(losses, translators.Loss{Field: l.GetField(), Detail: l.GetDetail()})
	}
	return translators.Native{Destination: n.GetDestination(), Headers: n.GetHeaders(), Body: n.GetBody()}, losses
}

// FromSettings returns settings as a JSON object, with secrets in clear.
func FromSettings(s translators.Settings) ([]byte, error) {
	clear := make(map[string]any, len(s))
	for key, value := range s {
		clear[key] = reveal(value)
	}
	raw, err := json.Marshal(clear)
	if err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	return raw, nil
}

// reveal looks for secrets where a decoded configuration can hold them.
func reveal(value any) any {
	switch v := value.(type) {
	case proxy.Secret:
		return v.Reveal()
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = reveal(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key := range v {
			object[key] = reveal(v[key])
		}
		return object
	default:
		return value
	}
}

// ToSettings is the inverse of FromSettings, except that secrets are text.
func ToSettings(raw []byte) (translators.Settings, error) {
	settings := translators.Settings{}
	if err := json.Unmarshal(raw, &settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	return settings, nil
}

const idBytes = 16

// appendID appends nothing for the zero id.
func appendID(raw []byte, id proxy.EventID) []byte {
	if id.IsZero() {
		return raw
	}
	raw = binary.BigEndian.AppendUint64(raw, id.Node)
	return binary.BigEndian.AppendUint64(raw, id.Seq)
}

// toID returns the zero id for anything that is not 16 bytes.
func toID(raw []byte) proxy.EventID {
	if len(raw) != idBytes {
		return proxy.EventID{}
	}
	return proxy.EventID{Node: binary.BigEndian.Uint64(raw), Seq: binary.BigEndian.Uint64(raw[8:])}
}

func fromTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func toTime(nano int64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Unix(0, nano)
}
