package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
)

// testCertificate makes a certificate for a host, signed by parent or by itself.
func testCertificate(t *testing.T, host string, from, to time.Time, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: from, NotAfter: to, IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func TestDoctorJudgesCertificates(t *testing.T) {
	now := time.Now()
	day := 24 * time.Hour
	authority, signer := testCertificate(t, "authority", now.Add(-day), now.Add(1000*day), nil, nil)
	issue := func(from, to time.Duration) *x509.Certificate {
		c, _ := testCertificate(t, "ws.example.com", now.Add(from), now.Add(to), authority, signer)
		return c
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	stranger, _ := testCertificate(t, "ws.example.com", now.Add(-day), now.Add(90*day), nil, nil)
	for name, tc := range map[string]struct {
		chain []*x509.Certificate
		host  string
		want  string
	}{
		"one that is fine":        {[]*x509.Certificate{issue(-day, 90*day)}, "ws.example.com", "ok: it is trusted for ws.example.com, 89 more days"},
		"one that ends soon":      {[]*x509.Certificate{issue(-day, 5*day)}, "ws.example.com", "warn: it ends in 4 days"},
		"one that has ended":      {[]*x509.Certificate{issue(-9*day, -day)}, "ws.example.com", "fail: it is valid from"},
		"one of tomorrow":         {[]*x509.Certificate{issue(day, 9*day)}, "ws.example.com", "fail: it is valid from"},
		"one for another name":    {[]*x509.Certificate{issue(-day, 90*day)}, "example.org", "fail: it is for ws.example.com, not for example.org"},
		"one that nobody vouches": {[]*x509.Certificate{stranger}, "ws.example.com", "fail: clients do not trust it: the server sends no intermediate"},
		"none":                    {nil, "ws.example.com", "fail: the server sends none"},
	} {
		t.Run(name, func(t *testing.T) {
			f := judgeChain(tc.chain, tc.host, now, roots)[0]
			if got := string(f.Health) + ": " + f.What; !strings.HasPrefix(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestDoctorJudgesClocks(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		server time.Duration
		want   health
	}{
		"the same":                   {0, healthy},
		"a second behind, truncated": {-time.Second, healthy},
		"ten seconds ahead":          {10 * time.Second, watch},
		"ten seconds behind":         {-12 * time.Second, watch},
		"eleven minutes ahead":       {11 * time.Minute, broken},
		"eleven minutes behind":      {-11 * time.Minute, broken},
	} {
		f := judgeClock(now.Add(tc.server).Format(http.TimeFormat), now, now.Add(200*time.Millisecond))
		if f.Health != tc.want {
			t.Errorf("%s: %s %q, want %s", name, f.Health, f.What, tc.want)
		}
	}
	if f := judgeClock("", now, now); f.Health != watch {
		t.Errorf("no date: %s, want %s", f.Health, watch)
	}
}

func TestDoctorJudgesUpgradesAndProxies(t *testing.T) {
	failed := errors.New("websocket: bad handshake")
	for status, want := range map[int]string{
		200: "removes the Upgrade header", 400: "removes the Upgrade header", 502: "the proxy in front answers 502", 404: "compare the path",
	} {
		f := judgeUpgrade(&http.Response{StatusCode: status}, failed)
		if f.Health != broken || !strings.Contains(f.What+" "+f.Fix, want) {
			t.Errorf("status %d: %+v, want %q", status, f, want)
		}
	}
	if f := judgeProxy(http.Header{"Server": {"nginx/1.26"}, "Via": {"1.1 varnish"}}); len(f) != 1 || !strings.Contains(f[0].What, "Server: nginx/1.26; Via: 1.1 varnish") {
		t.Errorf("headers of a proxy: %+v", f)
	}
	if f := judgeProxy(http.Header{"Content-Type": {"application/json"}}); f != nil {
		t.Errorf("no headers of a proxy: %+v", f)
	}
}

func TestDoctorJudgesLimits(t *testing.T) {
	if f := judgeFiles(1024); f.Health != watch || f.Fix == "" {
		t.Errorf("1024 files: %+v", f)
	}
	if f := judgeFiles(1 << 20); f.Health != healthy {
		t.Errorf("a million files: %+v", f)
	}
	if f := judgeBacklog("128"); f.Health != watch {
		t.Errorf("a queue of 128: %+v", f)
	}
	if f := judgeBacklog("4096"); f.Health != healthy {
		t.Errorf("a queue of 4096: %+v", f)
	}
}
