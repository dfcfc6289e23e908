package protocol

import "fmt"

// Close and error codes (vendor documentation: WebSocket protocol, "Error
// codes"). The range says what a client does: 4000-4099 never reconnect
// unchanged, 4100-4199 reconnect after a second, 4200-4299 reconnect at
// once, 4300-4399 only a report. Any other code above 4300 as a close code
// stops pusher-js for good, so a drain or rollback may use 4200 or 4100 only.
const (
	CodeNone             = 0 // on the wire: null. One command failed, nothing else
	CodeSSLOnly          = 4000
	CodeNoApp            = 4001
	CodeAppDisabled      = 4003
	CodeOverQuota        = 4004
	CodePathNotFound     = 4005
	CodeBadVersion       = 4006
	CodeUnsupported      = 4007
	CodeNoVersion        = 4008
	CodeUnauthorized     = 4009
	CodeOverCapacity     = 4100
	CodeReconnect        = 4200
	CodePongTimeout      = 4201
	CodeInactive         = 4202
	CodeClientEventRate  = 4301
	CodeWatchlistLimit   = 4302
	CloseTooBig          = 1009
	CloseUnsupportedData = 1003
	CloseBadData         = 1007
	CloseProtocolError   = 1002
)

// Error is what a client is told: in a pusher:error event, as a close
// reason, or both. Code 0 stands for null, which concerns one command only.
type Error struct {
	Code    int
	Message string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Code == CodeNone {
		return e.Message
	}
	return fmt.Sprintf("%d: %s", e.Code, e.Message)
}

// Closes reports whether the connection ends with this error.
func (e *Error) Closes() bool { return e.Code >= 4000 && e.Code < 4300 }

// Refusals of a whole connection.
var (
	ErrSSLOnly      = &Error{CodeSSLOnly, "Application only accepts SSL connections, reconnect using wss://"}
	ErrAppDisabled  = &Error{CodeAppDisabled, "Application disabled"}
	ErrOverQuota    = &Error{CodeOverQuota, "Application is over connection quota"}
	ErrPathNotFound = &Error{CodePathNotFound, "Path not found"}
	ErrBadVersion   = &Error{CodeBadVersion, "Invalid version string format"}
	ErrUnsupported  = &Error{CodeUnsupported, "Unsupported protocol version"}
	ErrNoVersion    = &Error{CodeNoVersion, "No protocol version supplied"}
	ErrUnauthorized = &Error{CodeUnauthorized, "Connection not authorized within timeout"}
	ErrTerminated   = &Error{CodeUnauthorized, "Connection terminated by the application"}
	ErrOrigin       = &Error{CodeUnauthorized, "Origin not allowed"}
	ErrSlow         = &Error{CodeOverCapacity, "Connection too slow: too much unsent data"}
	ErrReconnect    = &Error{CodeReconnect, "Please reconnect immediately"}
	ErrDraining     = &Error{CodeOverCapacity, "Restarting, please reconnect in a moment"} // not 4200: the client would be back at once, over and over
	ErrPongTimeout  = &Error{CodePongTimeout, "Pong reply not received"}
	ErrUnavailable  = &Error{CodeOverCapacity, "Temporarily unavailable, please try again"} // a backend failed
)

// ErrNoApp is the refusal of an unknown key.
func ErrNoApp(key string) *Error {
	const room = 48 // in a close frame, whose reason has at most 123 bytes
	return &Error{CodeNoApp, fmt.Sprintf("App key %s not in this cluster. Did you forget to specify the cluster?", clipTo(room, key))}
}

// Failures of one command. The texts that were captured from the vendor are
// marked so; the others are ours, as no capture is known.
var (
	ErrNotHash      = &Error{CodeNone, "Expected parameter data to be a hash"}                                                           // captured
	ErrClientShape  = &Error{CodeNone, "Invalid client event (must contain channel and data)"}                                           // captured
	ErrClientOff    = &Error{CodeNone, "To send client events, you must enable this feature in the Settings page of your dashboard."}    // captured
	ErrClientRate   = &Error{CodeClientEventRate, "Client event rejected due to rate limit"}                                             // documented
	ErrWatchlist    = &Error{CodeWatchlistLimit, "Watchlist limit exceeded. Only the first 100 user IDs are accepted."}                  // documented
	ErrSigninFormat = &Error{CodeNone, "Invalid format: auth must have the format key:signature"}                                        // captured
	ErrUserInfo     = &Error{CodeNone, "user_info supplied to presence subscription is invalid - if supplied it must be a type of hash"} // captured
	ErrBadFrame     = &Error{CodeNone, "Invalid message: expected a JSON object with an event name"}
	ErrBadUser      = &Error{CodeNone, "Invalid user_data: must be a JSON object with a non-empty string id"}
	ErrUserID       = &Error{CodeNone, "Invalid user_data: id must have at most 128 of A-Z a-z 0-9 _ - = @ , . ;"}
	ErrSignedIn     = &Error{CodeNone, "Already signed in as another user"}
	ErrUserChannel  = &Error{CodeNone, "Server to user channels may only be subscribed by the signed in user"}
)

func failf(format string, args ...any) *Error { return &Error{CodeNone, fmt.Sprintf(format, args...)} }

// ErrMissing says that a required field of data is absent (captured).
func ErrMissing(field string) *Error { return failf("Missing parameter: data.%s", field) }

// ErrExisting says that the channel is subscribed already (captured).
func ErrExisting(c ChannelName) *Error { return failf("Existing subscription to channel %s", c) }

// ErrNotSubscribed answers an unsubscribe without a subscription (captured).
func ErrNotSubscribed(c ChannelName) *Error {
	return failf("No current subscription to channel %s, or subscription in progress", clip(string(c)))
}

// ErrAuthRequired says that a signature is needed and absent (captured).
func ErrAuthRequired(c ChannelName) *Error { return failf("Auth info required to subscribe to %s", c) }

// ErrAuthFormat says that auth has no colon (captured).
func ErrAuthFormat(c ChannelName) *Error {
	return failf("Auth value for subscription to %s is invalid: should be of format 'key:signature'", c)
}

// ErrAuthKey says that auth names a key that is not this app's (captured).
func ErrAuthKey(key string) *Error {
	return failf("Invalid key in subscription auth data: '%s'", clip(key))
}

// ErrSigninKey says that the auth of a sign-in names a key that is not this app's.
func ErrSigninKey(key string) *Error {
	return failf("Invalid key in signin auth data: '%s'", clip(key))
}

// ErrAuthSignature says that the digest does not fit; the text shows what should have
// been signed (captured).
func ErrAuthSignature(signed, got string) *Error {
	return failf("Invalid signature: Expected HMAC SHA256 hex digest of %s, but got %s", signed, clip(got))
}

// ErrUnsupportedEvent says that a client sent an event name that means nothing (captured).
func ErrUnsupportedEvent(name string) *Error {
	return failf("Unsupported event received on socket: %s", clip(name))
}

// ErrNotMember answers a client event from outside the channel (captured).
func ErrNotMember(c ChannelName) *Error {
	return failf("Cannot broadcast client event (connection not subscribed to channel %s)", clip(string(c)))
}

// ErrChannelName says that the name breaks the rules.
func ErrChannelName(c ChannelName, maxLength int) *Error {
	return failf("Invalid channel name %q: use at most %d of A-Z a-z 0-9 _ - = @ , . ;", clip(string(c)), maxLength)
}

// ErrClientChannel says that client events are for private and presence channels.
func ErrClientChannel(c ChannelName) *Error {
	return failf("Client events are only allowed on private and presence channels, not on %s", clip(string(c)))
}

// ErrClientSize says that the data of a client event is too large.
func ErrClientSize(got, limit int) *Error {
	return failf("Client event data of %d bytes exceeds the allowed maximum (%d bytes)", got, limit)
}

// ErrEventName says that the event name is too long.
func ErrEventName(limit int) *Error {
	return failf("Event name exceeds the allowed maximum (%d characters)", limit)
}

// ErrPresenceData says that channel_data is unusable.
func ErrPresenceData(c ChannelName, why string) *Error {
	return failf("Invalid channel_data for subscription to %s: %s", c, why)
}

// ErrPresenceFull says that the channel has its full number of users.
func ErrPresenceFull(c ChannelName, limit int) *Error {
	return failf("Presence channel %s is full: at most %d members", c, limit)
}

// clip bounds foreign text that is shown back, so that an error frame cannot
// be made much larger than its cause.
func clip(s string) string { return clipTo(256, s) }

func clipTo(limit int, s string) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}
