package bench

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"time"
)

// pusher speaks Pusher Channels protocol 7 and the Channels HTTP API.
type pusher struct {
	host, appID, key, prefix string
	signed                   bool
	mac                      hash.Hash
	now                      func() time.Time
	body, signing, path      []byte
}

func newPusher(t Target, signed bool) *pusher {
	return &pusher{
		host: t.apiAddr(), appID: t.AppID, key: t.Key, prefix: t.PathPrefix, signed: signed,
		mac: hmac.New(sha256.New, []byte(t.Secret)), now: time.Now,
	}
}

func (p *pusher) upgradePath() string {
	return p.prefix + "/app/" + p.key + "?protocol=7&client=offramp-bench&version=1.0"
}

func (p *pusher) hello(dst []byte) []byte { return dst }

// classify looks for names in the first bytes only: every server under test
// puts the event's name there, or at the very end of a short text.
func (p *pusher) classify(text []byte) kind {
	event := between(text, `"event":"`, `"`)
	switch string(event) {
	case "pusher:connection_established":
		return greeted
	case "pusher_internal:subscription_succeeded":
		return subscribed
	case "pusher:ping":
		return pinged
	case "pusher_internal:member_added":
		return joined
	case "pusher_internal:member_removed":
		return left
	case "pusher:error", "pusher:subscription_error":
		return refused
	}
	return other
}

func (p *pusher) socketID(greeting []byte) string {
	return string(between(greeting, `\"socket_id\":\"`, `\"`))
}

func (p *pusher) members(confirmation []byte) int {
	_, rest, _ := bytes.Cut(confirmation, []byte(`\"count\":`))
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return 0
	}
	n, err := strconv.Atoi(string(rest[:end]))
	if err != nil {
		return 0
	}
	return n
}

func (p *pusher) subscribe(dst []byte, channel, socketID, user string) []byte {
	dst = append(dst, `{"event":"pusher:subscribe","data":{"channel":"`...)
	dst = append(dst, channel...)
	presence := strings.HasPrefix(channel, "presence-")
	if !presence && !strings.HasPrefix(channel, "private-") {
		return append(dst, `"}}`...)
	}
	toSign := socketID + ":" + channel
	if presence {
		toSign += `:{"user_id":"` + user + `"}`
	}
	dst = append(dst, `","auth":"`...)
	dst = append(dst, p.key...)
	dst = append(dst, ':')
	dst = p.appendMAC(dst, []byte(toSign))
	if presence {
		dst = append(dst, `","channel_data":"{\"user_id\":\"`...)
		dst = append(dst, user...)
		dst = append(dst, `\"}`...)
	}
	return append(dst, `"}}`...)
}

func (p *pusher) unsubscribe(dst []byte, channel string) []byte {
	dst = append(dst, `{"event":"pusher:unsubscribe","data":{"channel":"`...)
	dst = append(dst, channel...)
	return append(dst, `"}}`...)
}

func (p *pusher) pong(dst []byte) []byte {
	return append(dst, `{"event":"pusher:pong","data":{}}`...)
}

func (p *pusher) clientEvent(dst []byte, channel string, data []byte) []byte {
	dst = append(dst, `{"event":"client-bench","channel":"`...)
	dst = append(dst, channel...)
	dst = append(dst, `","data":"`...)
	dst = append(dst, data...)
	return append(dst, `"}`...)
}

func (p *pusher) echoes() bool { return false }

func (p *pusher) publish(dst []byte, channel string, payloads [][]byte) []byte {
	body, resource := p.body[:0], "/events"
	if len(payloads) > 1 {
		resource = "/batch_events"
		body = append(body, `{"batch":[`...)
	}
	for i, payload := range payloads {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"name":"bench","channel":"`...)
		body = append(body, channel...)
		body = append(body, `","data":"`...)
		body = append(body, payload...)
		body = append(body, `"}`...)
	}
	if len(payloads) > 1 {
		body = append(body, `]}`...)
	}
	p.body = body
	path := append(p.path[:0], p.prefix...)
	signFrom := len(path)
	path = append(path, "/apps/"...)
	path = append(path, p.appID...)
	path = append(path, resource...)
	if p.signed {
		path = p.appendSignature(path, signFrom, body)
	}
	p.path = path
	return appendRequest(dst, string(path), p.host, "", body)
}

// appendSignature appends the query that authenticates a request: the four
// parameters in the order in which they are signed, and their MAC.
func (p *pusher) appendSignature(path []byte, signFrom int, body []byte) []byte {
	resource := len(path)
	path = append(path, "?auth_key="...)
	path = append(path, p.key...)
	path = append(path, "&auth_timestamp="...)
	path = strconv.AppendInt(path, p.now().Unix(), 10)
	path = append(path, "&auth_version=1.0&body_md5="...)
	sum := md5.Sum(body)
	path = hex.AppendEncode(path, sum[:])

	signing := append(p.signing[:0], "POST\n"...)
	signing = append(signing, path[signFrom:resource]...)
	signing = append(signing, '\n')
	signing = append(signing, path[resource+1:]...)
	p.signing = signing
	path = append(path, "&auth_signature="...)
	return p.appendMAC(path, signing)
}

func (p *pusher) appendMAC(dst, text []byte) []byte {
	var sum [sha256.Size]byte
	p.mac.Reset()
	p.mac.Write(text) // a hash's Write never fails
	return hex.AppendEncode(dst, p.mac.Sum(sum[:0]))
}
