package protocol

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
)

// ChannelString returns what the auth of a subscription signs. channelData
// is nil when the client sent none; otherwise its exact bytes count, on every
// kind of channel (vendor documentation: authorization signatures).
func ChannelString(id SocketID, c ChannelName, channelData *string) string {
	s := string(id) + ":" + string(c)
	if channelData != nil {
		s += ":" + *channelData
	}
	return s
}

// UserString returns what the auth of a sign-in signs.
func UserString(id SocketID, userData string) string { return string(id) + "::user::" + userData }

// Sign returns the lower-case hex HMAC-SHA256 of text.
func Sign[T ~[]byte | ~string](secret string, text T) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify reports whether signature is Sign(secret, text), in constant time.
func Verify[T ~[]byte | ~string](secret string, text T, signature string) bool {
	return hmac.Equal([]byte(Sign(secret, text)), []byte(signature))
}

// SplitAuth splits "key:signature" at its first colon.
func SplitAuth(auth string) (key, signature string, ok bool) { return strings.Cut(auth, ":") }

// BodyMD5 returns the lower-case hex MD5 of a request body.
func BodyMD5(body []byte) string {
	sum := md5.Sum(body)
	return hex.EncodeToString(sum[:])
}

// Param is one query parameter, percent-decoded.
type Param struct{ Key, Value string }

// ParseQuery splits a raw query string. Server SDKs differ in what they
// escape on the wire, but all sign the decoded values. A piece that cannot be
// decoded is taken as it stands.
func ParseQuery(raw string) []Param {
	if raw == "" {
		return nil
	}
	return AppendQuery(make([]Param, 0, strings.Count(raw, "&")+1), raw)
}

// AppendQuery is ParseQuery into a slice that the caller keeps.
func AppendQuery(dst []Param, raw string) []Param {
	for piece := range strings.SplitSeq(raw, "&") {
		if piece == "" {
			continue
		}
		k, v, _ := strings.Cut(piece, "=")
		dst = append(dst, Param{unescape(k), unescape(v)})
	}
	return dst
}

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if out, err := url.QueryUnescape(s); err == nil {
		return out
	}
	return s
}

// RequestString returns what an HTTP request signs: method, path, and every
// parameter but auth_signature with its key in lower case, sorted by key, in
// the order sent where keys are equal, and not percent-encoded (vendor
// documentation: HTTP API, authentication).
func RequestString(method, path string, params []Param) string {
	sorted := append([]Param(nil), params...)
	SortParams(sorted)
	return string(AppendRequestString(nil, method, path, sorted))
}

// SortParams puts parameters into the order in which they are signed, and
// their keys into lower case.
func SortParams(params []Param) {
	for i := range params {
		params[i].Key = strings.ToLower(params[i].Key)
	}
	slices.SortStableFunc(params, func(a, b Param) int { return strings.Compare(a.Key, b.Key) })
}

// AppendRequestString appends what RequestString returns. sorted has been
// through SortParams.
func AppendRequestString(dst []byte, method, path string, sorted []Param) []byte {
	dst = append(append(append(append(dst, method...), '\n'), path...), '\n')
	first := true
	for _, p := range sorted {
		if p.Key == "auth_signature" {
			continue
		}
		if !first {
			dst = append(dst, '&')
		}
		first = false
		dst = append(append(append(dst, p.Key...), '='), p.Value...)
	}
	return dst
}
