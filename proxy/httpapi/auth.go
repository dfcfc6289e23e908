package httpapi

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"sync"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// timestampWindow is how far a signature's timestamp may be from this clock.
// A difference of exactly as much is refused (protocol.md 6.1).
const timestampWindow = 600 * time.Second

// verifier holds what checking one request's signature needs.
type verifier struct {
	params []protocol.Param // in the order in which they are signed
	signed []byte
	sum    [sha256.Size]byte
	want   [2 * sha256.Size]byte
	got    [2 * sha256.Size]byte
}

func (v *verifier) parse(query string) {
	v.params = protocol.AppendQuery(v.params[:0], query)
	protocol.SortParams(v.params)
}

// param returns a query parameter's value; of several of one name the last.
func (v *verifier) param(name string) (value string, ok bool) {
	for i := range v.params {
		if v.params[i].Key == name {
			value, ok = v.params[i].Value, true
		}
	}
	return value, ok
}

// authenticate checks who sent a request and that nobody changed it, in the
// vendor's order (protocol.md 6.1), and finds the app.
func (a *API) authenticate(r *request) *refusal {
	key, ok := r.auth.param("auth_key")
	if !ok {
		return errNoKey
	}
	app, credential, ok := a.settings.Apps.ByKey(key)
	if !ok {
		return errUnknownKey
	}
	r.tenant = a.tenants.of(app)
	if refused := r.checkVersion(); refused != nil {
		return refused
	}
	if refused := a.checkTimestamp(r); refused != nil {
		return refused
	}
	if refused := r.checkSignature(r.tenant.signers[credential.Key]); refused != nil {
		return refused
	}
	if refused := r.checkBody(); refused != nil {
		return refused
	}
	if r.appID != "" && r.appID != app.ID {
		return errForeignKey
	}
	return nil
}

func (r *request) checkVersion() *refusal {
	switch version, ok := r.auth.param("auth_version"); {
	case !ok:
		return errNoVersion
	case version != "1.0":
		return errVersion
	default:
		return nil
	}
}

func (a *API) checkTimestamp(r *request) *refusal {
	text, ok := r.auth.param("auth_timestamp")
	if !ok {
		return errNoTimestamp
	}
	given := leadingInt(text)
	skew := r.now.Unix() - given
	if max(skew, -skew) >= int64(timestampWindow/time.Second) {
		return errTimestamp(given, r.now)
	}
	a.metrics.skew.Observe(float64(skew))
	return nil
}

// maxTimestamp is the last second that has a date of four-digit year.
const maxTimestamp = 253402300799

// leadingInt reads the digits that a text begins with, as the vendor does: 0
// when there are none.
func leadingInt(s string) int64 {
	var n int64
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = min(n*10+int64(s[i]-'0'), maxTimestamp)
	}
	return n
}

// checkSignature tries the path as received, then percent-decoded: SDKs sign
// it unescaped, and their HTTP libraries may escape it afterwards.
func (r *request) checkSignature(s *signer) *refusal {
	given, sent := r.auth.param("auth_signature")
	if r.auth.verify(s, r.method, r.path, given) {
		return nil
	}
	if decoded := unescapePath(r.path); decoded != r.path && r.auth.verify(s, r.method, decoded, given) {
		return nil
	}
	signed := protocol.AppendRequestString(nil, r.method, r.path, r.auth.params)
	return errSignature(string(signed), given, sent)
}

// verify compares in constant time. What the signature's length tells is
// known to all.
func (v *verifier) verify(s *signer, method, path, given string) bool {
	if len(given) != len(v.got) {
		return false
	}
	v.signed = protocol.AppendRequestString(v.signed[:0], method, path, v.params)
	s.sign(&v.want, &v.sum, v.signed)
	copy(v.got[:], given)
	return hmac.Equal(v.want[:], v.got[:])
}

// checkBody binds the body to the signature, which covers only body_md5. It
// comes before anything reads the body.
func (r *request) checkBody() *refusal {
	given, sent := r.auth.param("body_md5")
	if !sent {
		if len(r.body()) > 0 {
			return errNoBodyMD5
		}
		return nil
	}
	sum := md5.Sum(r.body())
	var want, got [2 * md5.Size]byte
	hex.Encode(want[:], sum[:])
	if copy(got[:], given) != len(given) || !hmac.Equal(want[:], got[:]) {
		return errBodyMD5
	}
	return nil
}

// extraneous returns the query parameters that are not part of signing.
func (v *verifier) extraneous() []string {
	var names []string
	for _, p := range v.params {
		if p.Key != "body_md5" && !strings.HasPrefix(p.Key, "auth_") {
			names = append(names, p.Key)
		}
	}
	return names
}

// signer computes one credential's signatures. It keeps hash states that have
// the secret in already, which is half the work of a short message.
type signer struct{ states sync.Pool }

func newSigner(secret string) *signer {
	return &signer{states: sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(secret)) }}}
}

// sign writes the hex signature of text to dst; sum is room for its bytes.
func (s *signer) sign(dst *[2 * sha256.Size]byte, sum *[sha256.Size]byte, text []byte) {
	mac := s.states.Get().(hash.Hash)
	mac.Reset()
	mac.Write(text)
	hex.Encode(dst[:], mac.Sum(sum[:0]))
	s.states.Put(mac)
}
