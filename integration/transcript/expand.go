package transcript

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/offramp/offramp/proxy/protocol"
)

// expand replaces the ${…} in a step.
func (r *runner) expand(text string) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		end := closing(rest)
		if end < 0 {
			return "", fmt.Errorf("${%s: no closing brace", rest)
		}
		value, err := r.value(rest[:end])
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", rest[:end], err)
		}
		out.WriteString(value)
		text = rest[end+1:]
	}
}

// closing returns where the brace that ends a ${ is; JSON in it may have
// braces of its own.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

func (r *runner) value(expression string) (string, error) {
	expression, err := r.expand(expression)
	if err != nil {
		return "", err
	}
	verb, rest, _ := strings.Cut(expression, " ")
	switch verb {
	case "json":
		quoted := protocol.AppendString(nil, rest)
		return string(quoted[1 : len(quoted)-1]), nil
	case "sign":
		secret, text, _ := strings.Cut(rest, " ")
		return protocol.Sign(secret, text), nil
	case "channels":
		return channelList(rest)
	case "repeat":
		count, text, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(count)
		return strings.Repeat(text, n), err
	}
	name := verb
	if verb == "auth" || verb == "user" || verb == "digest" {
		name, rest, _ = strings.Cut(rest, " ")
	}
	c := r.conns[name]
	if c == nil {
		return "", fmt.Errorf("%s is not connected", name)
	}
	switch verb {
	case "auth":
		return r.auth(c, rest), nil
	case "digest":
		_, digest, _ := protocol.SplitAuth(r.auth(c, rest))
		return digest, nil
	case "user":
		return r.sign(protocol.UserString(c.id, rest)), nil
	default:
		return string(c.id), nil
	}
}

// auth signs a subscription to "CHANNEL [CHANNEL_DATA]".
func (r *runner) auth(c *conn, text string) string {
	name, channelData, has := strings.Cut(text, " ")
	signed := &channelData
	if !has {
		signed = nil
	}
	return r.sign(protocol.ChannelString(c.id, protocol.ChannelName(name), signed))
}

// channelList returns so many channel names, c0 and so on, as JSON strings.
func channelList(count string) (string, error) {
	n, err := strconv.Atoi(count)
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"c%d"`, i)
	}
	return strings.Join(names, ","), err
}
