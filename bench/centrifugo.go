package bench

import "bytes"

// centrifugo speaks Centrifugo's bidirectional JSON protocol and its HTTP
// API, as the vendor documents them for version 6. Every command has ID 1:
// the generator tells replies apart by what they carry.
type centrifugo struct {
	host, key string
	body      []byte
}

func (c *centrifugo) upgradePath() string { return "/connection/websocket" }

func (c *centrifugo) hello(dst []byte) []byte { return append(dst, `{"id":1,"connect":{}}`...) }

// classify sees one frame, in which Centrifugo may join several replies. The
// generator has one command open at a time wherever the answer matters.
func (c *centrifugo) classify(text []byte) kind {
	switch {
	case len(text) == 2: // {}
		return pinged
	case bytes.Contains(text, []byte(`"error":`)) || bytes.Contains(text, []byte(`"disconnect":`)):
		return refused
	case bytes.Contains(text, []byte(`"connect":`)):
		return greeted
	case bytes.Contains(text, []byte(`"subscribe":`)):
		return subscribed
	}
	return other
}

func (c *centrifugo) socketID([]byte) string { return "" }
func (c *centrifugo) members([]byte) int     { return 0 }

func (c *centrifugo) subscribe(dst []byte, channel, _, _ string) []byte {
	dst = append(dst, `{"id":1,"subscribe":{"channel":"`...)
	dst = append(dst, channel...)
	return append(dst, `"}}`...)
}

func (c *centrifugo) unsubscribe(dst []byte, channel string) []byte {
	dst = append(dst, `{"id":1,"unsubscribe":{"channel":"`...)
	dst = append(dst, channel...)
	return append(dst, `"}}`...)
}

func (c *centrifugo) pong(dst []byte) []byte { return append(dst, `{}`...) }

func (c *centrifugo) clientEvent(dst []byte, channel string, data []byte) []byte {
	dst = append(dst, `{"id":1,"publish":{"channel":"`...)
	dst = append(dst, channel...)
	dst = append(dst, `","data":"`...)
	dst = append(dst, data...)
	return append(dst, `"}}`...)
}

func (c *centrifugo) echoes() bool { return true }

func (c *centrifugo) publish(dst []byte, channel string, payloads [][]byte) []byte {
	one := func(b, payload []byte) []byte {
		b = append(b, `{"channel":"`...)
		b = append(b, channel...)
		b = append(b, `","data":"`...)
		b = append(b, payload...)
		return append(b, `"}`...)
	}
	headers := "X-API-Key: " + c.key + "\r\n"
	if len(payloads) == 1 {
		c.body = one(c.body[:0], payloads[0])
		return appendRequest(dst, "/api/publish", c.host, headers, c.body)
	}
	body := append(c.body[:0], `{"commands":[`...)
	for i, payload := range payloads {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"publish":`...)
		body = one(body, payload)
		body = append(body, '}')
	}
	c.body = append(body, `]}`...)
	return appendRequest(dst, "/api/batch", c.host, headers, c.body)
}
