package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrForbiddenAddress is wrapped by the error of a delivery to an address
// that webhooks do not go to: see Forbidden.
var ErrForbiddenAddress = errors.New("webhooks: receiver's address is link-local, a cloud metadata service, multicast or unspecified; set allow_private on the webhook if that is meant")

// metadata are services that hand out credentials to whoever asks from
// within a cloud machine, and are not link-local.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("fd00:ec2::/32"),      // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("0.0.0.0/8"),          // this host, by another name
	netip.MustParsePrefix("255.255.255.255/32"), // broadcast
}

// translated are IPv6 prefixes that carry an IPv4 address: its place is the
// number of bytes in front of it.
var translated = []struct {
	prefix netip.Prefix
	place  int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2},     // RFC 3056
	{netip.MustParsePrefix("::/96"), 12},        // RFC 4291 2.5.5.1
}

// Forbidden reports whether webhooks must not go to an address: link-local,
// cloud metadata services, multicast, unspecified, and the IPv6 forms of any
// of them. Loopback and private networks are allowed, as receivers are often
// there.
func Forbidden(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range metadata {
		if p.Contains(a) {
			return true
		}
	}
	for _, t := range translated {
		if a != netip.IPv6Loopback() && t.prefix.Contains(a) {
			raw := a.As16()
			return Forbidden(netip.AddrFrom4([4]byte(raw[t.place : t.place+4])))
		}
	}
	return false
}

// guard refuses forbidden addresses when a socket is about to connect, which
// is after name resolution: no name can lead elsewhere than what was checked.
func guard(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("check address %s: %w", address, err)
	}
	if Forbidden(a.Addr()) {
		return fmt.Errorf("connect to %s: %w", a.Addr(), ErrForbiddenAddress)
	}
	return nil
}

// newTransport returns the HTTP transport of one receiver, which shares its
// connections with no other. Proxies are not used: they would connect where
// the guard does not see it.
func newTransport(allowPrivate bool) *http.Transport {
	dialer := &net.Dialer{Timeout: attemptTimeout, KeepAlive: 30 * time.Second}
	if !allowPrivate {
		dialer.ControlContext = guard
	}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    attemptTimeout,
		MaxConnsPerHost:        concurrency,
		MaxIdleConnsPerHost:    concurrency,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
}
