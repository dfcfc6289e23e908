package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy/protocol"
)

// Rules for single values. Each returns what is wrong and the fix, or nothing.

func filled(s string) (problem, fix string) {
	if strings.TrimSpace(s) == "" {
		return "This is empty", "Give it a value"
	}
	return "", ""
}

var identifierShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`)

// identifier holds for app ids and keys, which stand in URL paths.
func identifier(s string) (problem, fix string) {
	if !identifierShape.MatchString(s) {
		return strconv.Quote(clip(s)) + " cannot stand in a URL path", "Use 1 to 128 letters, digits and . _ ~ -, beginning with a letter or digit"
	}
	return "", ""
}

var backendShape = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func backendName(s string) (problem, fix string) {
	switch {
	case s == "engine" || s == "vendor":
		return "The name " + s + " is taken by the gateway itself", "Choose another name"
	case !backendShape.MatchString(s):
		return strconv.Quote(clip(s)) + " is not a usable name", "Use 1 to 63 lower-case letters, digits, _ and -"
	}
	return "", ""
}

var clusterShape = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

func clusterName(s string) (problem, fix string) {
	if !clusterShape.MatchString(s) {
		return strconv.Quote(clip(s)) + " is not the name of a cluster", "Use the name from the vendor's dashboard, such as mt1 or eu"
	}
	return "", ""
}

func listenAddress(s string) (problem, fix string) {
	const advice = "Write host:port, such as 127.0.0.1:6001; :6001 listens on every address"
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return strconv.Quote(clip(s)) + " is not host:port", advice
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return strconv.Quote(clip(port)) + " is not a port", "Use a number from 0 to 65535; 0 picks a free one"
	}
	if host != "" && net.ParseIP(host) == nil && !hostShape.MatchString(host) {
		if _, err := netip.ParseAddr(host); err != nil { // also takes IPv6 zones
			return strconv.Quote(clip(host)) + " is not a host", advice
		}
	}
	return "", ""
}

var pathPrefixShape = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)

func pathPrefix(s string) (problem, fix string) {
	switch {
	case s == "/":
		return "The prefix / is the same as none", `Write "" or remove the line`
	case strings.HasSuffix(s, "/") || s != "" && !strings.HasPrefix(s, "/"):
		return "The prefix must begin with a slash and end without one", "Write /" + strings.Trim(clip(s), "/")
	case len(s) > 200 || !pathPrefixShape.MatchString(s):
		return strconv.Quote(clip(s)) + " is not a plain path", "Use at most 200 letters, digits and . _ ~ - between single slashes"
	}
	return "", ""
}

var hostShape = regexp.MustCompile(`^(?i)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

func hostName(s string) (problem, fix string) {
	switch {
	case strings.HasPrefix(s, "*."):
		return "Wildcards need the DNS challenge, which is not built in", "Name each host, or use tls.cert and tls.key"
	case len(s) > 253 || !hostShape.MatchString(s) || !strings.Contains(s, ".") || net.ParseIP(s) != nil:
		return strconv.Quote(clip(s)) + " is not a public host name", "Write a name such as ws.example.com, without scheme and port"
	}
	return "", ""
}

func emailAddress(s string) (problem, fix string) {
	if name, host, at := strings.Cut(s, "@"); !at || name == "" || !hostShape.MatchString(host) || strings.ContainsAny(s, " <>,") {
		return strconv.Quote(clip(s)) + " is not an e-mail address", "Write one such as ops@example.com"
	}
	return "", ""
}

// urlWith holds for absolute URLs of those schemes without query or fragment
// secrets to lose: a fragment is never sent.
func urlWith(schemes ...string) check {
	return func(s string) (problem, fix string) {
		fix = "Write a URL such as " + schemes[0] + "://host:port/path"
		u, err := url.Parse(s)
		switch {
		case err != nil:
			return "This is not a URL", fix
		case !slices.Contains(schemes, u.Scheme):
			return "The URL must begin with " + strings.Join(schemes, ":// or ") + "://", fix
		case u.Hostname() == "":
			return "The URL has no host", fix
		case u.Fragment != "":
			return "The URL has a fragment (#…), which is never sent", "Remove it"
		case u.Port() != "" && !validPort(u.Port()):
			return strconv.Quote(clip(u.Port())) + " is not a port", "Use a number from 1 to 65535"
		}
		return "", ""
	}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// redisPrefix keeps a prefix out of the way of Redis Cluster's hash tags.
func redisPrefix(s string) (problem, fix string) {
	if len(s) > 100 || strings.ContainsAny(s, "{} \t\r\n") {
		return strconv.Quote(clip(s)) + " is not a usable prefix", "Use at most 100 characters without spaces and braces"
	}
	return "", ""
}

func origin(s string) (problem, fix string) {
	if s == "" || len(s) > 300 || strings.ContainsAny(s, " \t\r\n,") {
		return strconv.Quote(clip(s)) + " is not an origin", "Write scheme and host, such as https://app.example.com or https://*.example.com"
	}
	if _, rest, scheme := strings.Cut(s, "://"); scheme && strings.ContainsAny(rest, "/?#") {
		return "An origin has no path", "Write scheme, host and port alone"
	}
	return "", ""
}

// channelPattern holds for patterns that some channel name could match.
func channelPattern(s string) (problem, fix string) {
	name := protocol.ChannelName(strings.ReplaceAll(s, "*", "x"))
	if !name.Valid(protocol.MaxChannelNameLength) {
		return strconv.Quote(clip(s)) + " matches no channel name",
			fmt.Sprintf("Use 1 to %d letters, digits and _ - = @ , . ; with * for any run of characters", protocol.MaxChannelNameLength)
	}
	return "", ""
}

func wholeSeconds(s string) (problem, fix string) {
	if d, err := time.ParseDuration(s); err == nil && d%time.Second != 0 {
		return "Clients are told this in whole seconds", "Round it, such as to " + formatDuration(d.Round(time.Second))
	}
	return "", ""
}
