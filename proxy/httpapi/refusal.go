package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
)

// refusal is a request that was not done: a status and one line of text, as
// server SDKs show it to people.
type refusal struct {
	status int
	text   string
}

// Refusals with fixed texts. Those marked captured are the vendor's own
// (protocol.md 6.1, 6.2); of the others no capture is known.
var (
	errNotFound = &refusal{http.StatusNotFound, "Not found"}
	errMethod   = &refusal{http.StatusMethodNotAllowed, "Method not allowed"}
	errDisabled = &refusal{http.StatusForbidden, "App disabled"}
	errInternal = &refusal{http.StatusServiceUnavailable, "Service temporarily unavailable, please try again"}

	errNoKey        = &refusal{http.StatusBadRequest, "Missing parameter: auth_key"}   // captured
	errUnknownKey   = &refusal{http.StatusBadRequest, "Unknown auth_key"}              // captured
	errNoVersion    = &refusal{http.StatusUnauthorized, "Version required"}            // captured
	errVersion      = &refusal{http.StatusUnauthorized, "Version not supported"}       // captured
	errNoTimestamp  = &refusal{http.StatusUnauthorized, "Timestamp required"}          // captured
	errNoBodyMD5    = &refusal{http.StatusUnauthorized, "Missing parameter: body_md5"} //
	errBodyMD5      = &refusal{http.StatusUnauthorized, "Invalid body_md5: it is not the MD5 hex digest of the request body"}
	errForeignKey   = &refusal{http.StatusUnauthorized, "Invalid auth_key: it does not belong to the app of this path"}
	errInvalidJSON  = &refusal{http.StatusBadRequest, "Invalid JSON: the request body must be a JSON object in UTF-8"}
	errInvalidUTF8  = &refusal{http.StatusBadRequest, "Invalid body: the request body must be UTF-8"}
	errEmptyBatch   = &refusal{http.StatusBadRequest, "Batch is empty: send 1 to 10 events"}
	errChannelName  = &refusal{http.StatusBadRequest, "Invalid channel name"} // captured
	errSocketID     = &refusal{http.StatusBadRequest, "Invalid socket_id: expected the form 123.456"}
	errReservedName = &refusal{http.StatusBadRequest, "Invalid event name: the prefixes pusher: and pusher_internal: are reserved"}
	errEncrypted    = &refusal{http.StatusBadRequest, "An event cannot be published to several channels when one of them is encrypted"}
	errUserID       = &refusal{http.StatusBadRequest, "Invalid user id"}

	errUserCountPrefix   = &refusal{http.StatusBadRequest, "user_count may only be requested for presence channels - please supply filter_by_prefix begining with presence-"} // captured, sic
	errUserCount         = &refusal{http.StatusBadRequest, "Cannot retrieve the user count unless the channel is a presence channel"}                                         // captured
	errSubscriptionCount = &refusal{http.StatusBadRequest, "Cannot retrieve the subscription count unless subscription counting is enabled for the app"}
	errCache             = &refusal{http.StatusBadRequest, "Cannot retrieve the cache unless the channel is a cache channel"}
	errUsers             = &refusal{http.StatusBadRequest, "Users can only be retrieved for presence channels"} // captured
)

func badRequest(format string, args ...any) *refusal {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// errTimestamp: captured.
func errTimestamp(given int64, now time.Time) *refusal {
	const layout = "2006-01-02T15:04:05Z"
	return &refusal{http.StatusUnauthorized, fmt.Sprintf("Timestamp expired: Given timestamp (%s) not within %ds of server time (%s)",
		time.Unix(given, 0).UTC().Format(layout), int(timestampWindow/time.Second), now.UTC().Format(layout))}
}

// errSignature: captured. It shows what should have been signed.
func errSignature(signed, given string, sent bool) *refusal {
	shown := "nil"
	if sent {
		shown = strconv.Quote(given)
	}
	return &refusal{http.StatusUnauthorized, fmt.Sprintf("Invalid signature: you should have sent HmacSHA256Hex(%s, your_secret_key), but you sent %s",
		strconv.Quote(signed), shown)}
}

// errMissing: captured for channel.
func errMissing(parameter string) *refusal {
	return badRequest("Missing required parameter: %s", parameter)
}

// errType: captured for name.
func errType(parameter, kind string) *refusal {
	return badRequest("Expected %s parameter to be %s", parameter, kind)
}

// errInfo: its first words are captured.
func errInfo(allowed string) *refusal {
	return badRequest("info should be a comma separated list of attributes, of which this request may ask: %s", allowed)
}

// errExtraneous: captured.
func errExtraneous(names []string) *refusal {
	return badRequest("The following query string parameters are extraneous: %s", strings.Join(names, ", "))
}

// errBatch: captured.
func errBatch(n int) *refusal { return badRequest("Batch too large (%d > %d)", n, maxBatch) }

func errChannels(n int) *refusal {
	return badRequest("Too many channels (%d > %d)", n, maxChannels)
}

func errNameLength(limit int) *refusal {
	return badRequest("Event name exceeds the allowed maximum (%d characters)", limit)
}

// errData: captured.
func errData(limit int) *refusal {
	return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("The data content of this event exceeds the allowed maximum (%d bytes). "+
		"See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info", limit)}
}

func errBody(got, limit int) *refusal {
	return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("The request body of %d bytes exceeds the allowed maximum (%d bytes)", got, limit)}
}

// errRate has the form of the vendor's text for a spent quota; the vendor
// publishes no limit per second (protocol.md 9).
func errRate(limit int) *refusal {
	return &refusal{http.StatusForbidden, fmt.Sprintf("API call failed since (per second) message quota exceeded: this app may publish %d events a second", limit)}
}

// refuse answers with a refusal, and shows it to watchers.
func (a *API) refuse(r *request, refused *refusal) {
	name := r.resource.String()
	a.metrics.refused(name, refused.status)
	ctx := r.ctx
	ctx.SetStatusCode(refused.status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(oneLine(refused.text) + "\n")
	if refused == errMethod {
		ctx.Response.Header.Set("Allow", r.resource.allow())
	}
	if a.settings.Tap != nil && a.settings.Tap.Wants(proxy.KindRefused) {
		a.settings.Tap.Offer(proxy.Record{
			Kind: proxy.KindRefused, At: r.now, Leg: proxy.LegEngine, Topic: proxy.Topic{App: r.owner()},
			Code: refused.status, Action: "http " + name, Text: refused.text,
		})
	}
}

// owner returns the id of the app that a request concerns, as far as it is
// known to exist.
func (r *request) owner() string {
	if r.tenant == nil {
		return ""
	}
	return r.tenant.app.ID
}

func (res *resource) allow() string {
	if res.method == http.MethodGet {
		return "GET, HEAD"
	}
	return res.method
}

// oneLine replaces what would break a text's line; foreign names may hold it.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}
