package httpapi

import (
	"math"
	"strconv"
	"strings"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/engine"
	"github.com/offramp/offramp/proxy/protocol"
)

// info is the set of attributes of a channel that a request asks for.
type info uint8

const (
	infoUserCount info = 1 << iota
	infoSubscriptionCount
	infoCache
)

var infoNames = [...]string{"user_count", "subscription_count", "cache"}

// String lists the attributes, as info parameters do.
func (i info) String() string {
	var names []string
	for bit, name := range infoNames {
		if i&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// parseInfo reads an info parameter given as a raw JSON value; nil asks for
// nothing.
func parseInfo(raw []byte, allowed info) (info, *refusal) {
	if raw == nil {
		return 0, nil
	}
	list, refused := text("info", raw)
	if refused != nil {
		return 0, errInfo(allowed.String())
	}
	return parseInfoList(list, allowed)
}

func parseInfoList(list string, allowed info) (info, *refusal) {
	var asked info
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		attribute := infoNamed(name) & allowed
		if attribute == 0 {
			return 0, errInfo(allowed.String())
		}
		asked |= attribute
	}
	return asked, nil
}

func infoNamed(name string) info {
	for bit, known := range infoNames {
		if name == known {
			return 1 << bit
		}
	}
	return 0
}

// queryInfo reads the info parameter of a query.
func (r *request) queryInfo(allowed info) (info, *refusal) {
	list, _ := r.auth.param("info")
	return parseInfoList(list, allowed)
}

// applicable returns what of the attributes a channel has: publishes leave
// out the rest, queries refuse it.
func (i info) applicable(app *proxy.App, name protocol.ChannelName) info {
	if name.Kind() != protocol.Presence {
		i &^= infoUserCount
	}
	if !app.SubscriptionCounting {
		i &^= infoSubscriptionCount
	}
	if !name.Cached() {
		i &^= infoCache
	}
	return i
}

// appendInfo appends the attributes of a channel, each behind a comma where
// something is in the object already.
func appendInfo(dst []byte, state *engine.ChannelState, asked info) []byte {
	if asked&infoUserCount != 0 {
		dst = strconv.AppendInt(append(separate(dst), `"user_count":`...), int64(state.UserCount), 10)
	}
	if asked&infoSubscriptionCount != 0 {
		dst = strconv.AppendInt(append(separate(dst), `"subscription_count":`...), int64(state.SubscriptionCount), 10)
	}
	if asked&infoCache != 0 {
		dst = appendCache(append(separate(dst), `"cache":`...), state.Cache)
	}
	return dst
}

func appendCache(dst []byte, cache *engine.CacheState) []byte {
	if cache == nil {
		return append(dst, "null"...)
	}
	dst = protocol.AppendString(append(dst, `{"data":`...), cache.Data)
	dst = strconv.AppendInt(append(dst, `,"ttl":`...), int64(math.Ceil(cache.TTL.Seconds())), 10) // never 0 while there is something
	return append(dst, '}')
}

// separate appends a comma unless dst ends where an object or array begins.
func separate(dst []byte) []byte {
	if last := dst[len(dst)-1]; last == '{' || last == '[' {
		return dst
	}
	return append(dst, ',')
}

// channelInfo appends {…} with the attributes of one channel.
func (a *API) channelInfo(r *request, dst []byte, name protocol.ChannelName, asked info) ([]byte, *refusal) {
	asked = asked.applicable(r.tenant.app, name)
	dst = append(dst, '{')
	if asked != 0 {
		state, err := a.settings.Engine.Channel(r.background(), r.topic(name))
		if err != nil {
			return dst, a.failed(r, err)
		}
		dst = appendInfo(dst, &state, asked)
	}
	return append(dst, '}'), nil
}

func (r *request) topic(name protocol.ChannelName) proxy.Topic {
	return proxy.Topic{App: r.tenant.app.ID, Channel: name}
}

// failed says that the engine could not do what was asked of it.
func (a *API) failed(r *request, err error) *refusal {
	a.settings.Log.Error().Err(err).Str("app", r.tenant.app.ID).Str("resource", r.resource.name).Msg("http api request failed")
	return errInternal
}
