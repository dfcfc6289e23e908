package webhooks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/offramp/offramp/proxy"
)

func TestForbidden(t *testing.T) {
	forbidden := []string{
		"169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1", "fd00:ec2::254", "fd20:ce::254",
		"100.100.100.200", "192.0.0.192", "168.63.129.16", "224.0.0.1", "ff02::1", "0.0.0.0", "0.1.2.3", "::",
		"255.255.255.255", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254",
	}
	for _, text := range forbidden {
		if !Forbidden(netip.MustParseAddr(text)) {
			t.Errorf("%s is allowed", text)
		}
	}
	allowed := []string{
		"127.0.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.201", "93.184.216.34",
		"2606:2800:220:1::1", "fd12:3456::1", "64:ff9b::5db8:d822", "::ffff:10.0.0.1",
	}
	for _, text := range allowed {
		if Forbidden(netip.MustParseAddr(text)) {
			t.Errorf("%s is forbidden", text)
		}
	}
	if !Forbidden(netip.Addr{}) {
		t.Error("no address at all is allowed")
	}
}

// A listener on 0.0.0.0 can be dialled as 0.0.0.0, which makes that address
// the one forbidden address that a test can reach.
func TestDeliveryRefusesForbiddenAddresses(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv.Listener = listener
	srv.Start()
	defer srv.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	credential := proxy.Credential{Key: "k", Secret: proxy.NewSecret("s")}
	tests := map[string]struct {
		host         string
		allowPrivate bool
		want         string
	}{
		"loopback":                             {"127.0.0.1", false, "delivered"},
		"a name of loopback":                   {"localhost", false, "delivered"},
		"unspecified address":                  {"0.0.0.0", false, "forbidden"},
		"unspecified address, written in IPv6": {"[::ffff:0.0.0.0]", false, "forbidden"},
		"metadata service":                     {"169.254.169.254", false, "forbidden"},
		"unspecified address, allowed by name": {"0.0.0.0", true, "delivered"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			transport := newTransport(tc.allowPrivate)
			defer transport.CloseIdleConnections()
			o := post(context.Background(), transport, "http://user:pass@"+net.JoinHostPort(strings.Trim(tc.host, "[]"), port)+"/?token=hush", credential, []byte("{}"))
			if got := o.result(); got != tc.want {
				t.Errorf("result = %s (%v), want %s", got, o, tc.want)
			}
			if text := o.String(); strings.Contains(text, "hush") || strings.Contains(text, "pass") {
				t.Errorf("outcome tells secrets: %s", text)
			}
			if tc.want == "forbidden" && !errors.Is(o.err, ErrForbiddenAddress) {
				t.Errorf("error %v is not ErrForbiddenAddress", o.err)
			}
		})
	}
}

func TestPublicURLHasNoSecrets(t *testing.T) {
	if got, want := publicURL("https://user:pass@hooks.test:8443/in?token=hush#x"), "https://hooks.test:8443/in"; got != want {
		t.Errorf("publicURL = %s, want %s", got, want)
	}
}
