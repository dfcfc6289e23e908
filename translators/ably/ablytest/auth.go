package ablytest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tokenRequest is a signed request for a token.
type tokenRequest struct {
	KeyName    string `json:"keyName"`
	TTL        int64  `json:"ttl"` // milliseconds
	Capability string `json:"capability"`
	ClientID   string `json:"clientId"`
	Timestamp  int64  `json:"timestamp"` // milliseconds
	Nonce      string `json:"nonce"`
	MAC        string `json:"mac"`
}

func (r tokenRequest) mac(secret string) string {
	h := hmac.New(sha256.New, []byte(secret))
	ttl := ""
	if r.TTL != 0 {
		ttl = fmt.Sprint(r.TTL)
	}
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%d\n%s\n", r.KeyName, ttl, r.Capability, r.ClientID, r.Timestamp, r.Nonce) //nolint:errcheck // a hash takes all
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// tokenDetails is an issued token.
type tokenDetails struct {
	Token      string `json:"token"`
	KeyName    string `json:"keyName"`
	Issued     int64  `json:"issued"`
	Expires    int64  `json:"expires"`
	Capability string `json:"capability"`
	ClientID   string `json:"clientId,omitempty"`
}

const (
	defaultCapability = `{"*":["*"]}`
	defaultTTL        = time.Hour
	// clockTolerance is how old a token request may be.
	clockTolerance = 15 * time.Minute
)

// requestToken issues a token for a signed request.
func (s *Server) requestToken(r tokenRequest) (tokenDetails, error) {
	now := time.Now()
	sent := time.UnixMilli(r.Timestamp)
	switch {
	case r.KeyName != s.keyName:
		return tokenDetails{}, errorf(40400, 404, "no key with name %q found", r.KeyName)
	case !hmac.Equal([]byte(r.mac(s.keySecret)), []byte(r.MAC)):
		return tokenDetails{}, errorf(40101, 401, "invalid signature of the token request")
	case now.Sub(sent).Abs() > clockTolerance:
		return tokenDetails{}, errorf(40104, 401, "timestamp not current")
	case len(r.Nonce) < 16:
		return tokenDetails{}, errorf(40001, 400, "nonce is shorter than 16 characters")
	case s.nonceSeen(r.Nonce, now):
		return tokenDetails{}, errorf(40105, 401, "nonce value replayed")
	}
	if r.Capability == "" {
		r.Capability = defaultCapability
	}
	if _, err := parseCapability(r.Capability); err != nil {
		return tokenDetails{}, errorf(40003, 400, "capability is not JSON: %v", err)
	}
	ttl := defaultTTL
	if r.TTL > 0 {
		ttl = time.Duration(r.TTL) * time.Millisecond
	}
	if limit := s.options.TokenTTL; limit > 0 {
		ttl = min(ttl, limit)
	}
	s.mu.Lock()
	issued := max(now.UnixMilli(), s.revokedUntil+1) // never in the millisecond of a revocation
	s.mu.Unlock()
	d := tokenDetails{
		KeyName: r.KeyName, Issued: issued, Expires: now.Add(ttl).UnixMilli(), Capability: r.Capability, ClientID: r.ClientID,
	}
	d.Token = s.seal(d)
	return d, nil
}

func (s *Server) nonceSeen(nonce string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, at := range s.nonces {
		if now.Sub(at) > 2*clockTolerance {
			delete(s.nonces, n)
		}
	}
	_, seen := s.nonces[nonce]
	s.nonces[nonce] = now
	return seen
}

// seal makes a token of what it says, so that it outlives the server.
func (s *Server) seal(d tokenDetails) string {
	claims, _ := json.Marshal(d) // strings and numbers only
	body := base64.RawURLEncoding.EncodeToString(claims)
	h := hmac.New(sha256.New, []byte(s.keySecret))
	h.Write([]byte(body))
	app, _, _ := strings.Cut(s.keyName, ".")
	return app + "." + body + "_" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// identity is who a connection or a request is.
type identity struct {
	clientID   string // "*": may be anybody
	capability capability
	expires    time.Time // zero: never
}

// unseal verifies a token.
func (s *Server) unseal(token string) (identity, error) {
	_, sealed, _ := strings.Cut(token, ".")
	dot := len(sealed) - base64.RawURLEncoding.EncodedLen(sha256.Size) - 1
	if dot < 0 || sealed[dot] != '_' {
		return identity{}, errorf(40005, 400, "invalid token")
	}
	h := hmac.New(sha256.New, []byte(s.keySecret))
	h.Write([]byte(sealed[:dot]))
	if sealed[dot+1:] != base64.RawURLEncoding.EncodeToString(h.Sum(nil)) {
		return identity{}, errorf(40140, 401, "token unrecognised")
	}
	claims, err := base64.RawURLEncoding.DecodeString(sealed[:dot])
	var d tokenDetails
	if err != nil || json.Unmarshal(claims, &d) != nil {
		return identity{}, errorf(40140, 401, "token unrecognised")
	}
	expires := time.UnixMilli(d.Expires)
	s.mu.Lock()
	revoked := d.Issued <= s.revokedUntil
	s.mu.Unlock()
	if revoked || !time.Now().Before(expires) {
		return identity{}, errorf(40142, 401, "token expired")
	}
	granted, err := parseCapability(d.Capability)
	if err != nil {
		return identity{}, errorf(40140, 401, "token unrecognised")
	}
	return identity{clientID: d.ClientID, capability: granted, expires: expires}, nil
}

// byKey verifies a key.
func (s *Server) byKey(key, clientID string) (identity, error) {
	if !hmac.Equal([]byte(key), []byte(s.keyName+":"+s.keySecret)) {
		return identity{}, errorf(40101, 401, "invalid credentials")
	}
	everything, err := parseCapability(defaultCapability)
	if clientID == "" {
		clientID = "*"
	}
	return identity{clientID: clientID, capability: everything}, err
}

// authorise finds out who sends a request.
func (s *Server) authorise(r *http.Request) (identity, error) {
	q := r.URL.Query()
	if token := q.Get("access_token"); token != "" {
		return s.unseal(token)
	}
	if key := q.Get("key"); key != "" {
		return s.byKey(key, q.Get("clientId"))
	}
	if name, secret, ok := r.BasicAuth(); ok {
		return s.byKey(name+":"+secret, "")
	}
	if encoded, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return identity{}, errorf(40101, 401, "the bearer token is not base64")
		}
		return s.unseal(string(token))
	}
	return identity{}, errorf(40101, 401, "no authentication information provided")
}

// capability is what operations are allowed on which resources.
type capability map[string][]string

func parseCapability(text string) (capability, error) {
	var c capability
	err := json.Unmarshal([]byte(text), &c)
	return c, err
}

// allows reports whether an operation is allowed on a channel. A resource is
// a name, "*", or a namespace followed by ":*" (vendor documentation:
// "Capabilities").
func (c capability) allows(channel, operation string) bool {
	for resource, operations := range c {
		prefix, isPattern := strings.CutSuffix(resource, "*")
		if resource != channel && (!isPattern || !strings.HasPrefix(channel, prefix)) {
			continue
		}
		if slices.Contains(operations, "*") || slices.Contains(operations, operation) {
			return true
		}
	}
	return false
}
