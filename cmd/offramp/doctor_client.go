package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// maxClientBytes bounds a client's configuration, source or page, and
// maxScripts how many scripts of a page are read.
const (
	maxClientBytes = 8 << 20
	maxScripts     = 12
)

// examineClient reads a client's configuration from a file, from standard
// input ("-"), or from a page, and says which hosts that client can reach.
// gateway is the host that it should reach; empty: unknown.
func examineClient(ctx context.Context, source string, stdin io.Reader, gateway string) []finding {
	u, err := url.Parse(source)
	switch {
	case err == nil && (u.Scheme == "ws" || u.Scheme == "wss"):
		return []finding{judgeHost("client "+u.Redacted(), "WebSocket", u.Scheme+"://"+u.Host, gateway)}
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return examinePage(ctx, u, gateway)
	}
	text, err := readClient(source, stdin)
	if err != nil {
		return []finding{{"client " + source, broken, fmt.Sprintf("it cannot be read: %v", err), "give a file, a URL, or - for standard input"}}
	}
	return judgeClient("client "+source, text, gateway)
}

func readClient(source string, stdin io.Reader) (string, error) {
	from := stdin
	if source != "-" {
		f, err := os.Open(source)
		if err != nil {
			return "", cause(err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxClientBytes))
	return string(text), err
}

var scriptSource = regexp.MustCompile(`(?i)<script[^>]+src\s*=\s*["']?([^"'\s>]+)`)

// examinePage reads a page and the scripts that it loads from its own host:
// where the configuration of a built app ends up.
func examinePage(ctx context.Context, page *url.URL, gateway string) []finding {
	check := "client " + page.Redacted()
	text, err := fetchText(ctx, page)
	if err != nil {
		return []finding{{check, broken, fmt.Sprintf("the page cannot be read: %v", cause(err)), "correct the URL, or give the source file"}}
	}
	var found []finding
	if hasClient(text) {
		found = append(found, judgeClient(check, text, gateway)...)
	}
	read := 0
	for _, m := range scriptSource.FindAllStringSubmatch(text, -1) {
		script, err := page.Parse(m[1])
		if err != nil || script.Host != page.Host || read == maxScripts {
			continue
		}
		read++
		if code, err := fetchText(ctx, script); err == nil && hasClient(code) {
			found = append(found, judgeClient("client "+script.Redacted(), code, gateway)...)
		}
	}
	if len(found) == 0 {
		return []finding{{check, watch, "neither the page nor its own scripts make a Pusher client", "give the script or the source file that does"}}
	}
	return found
}

func fetchText(ctx context.Context, u *url.URL) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("it is answered %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxClientBytes))
	return string(text), err
}

// judgeClient tells what kind of client a text configures, and judges it.
func judgeClient(check, text, gateway string) []finding {
	switch {
	case flutterClient.MatchString(text):
		return judgeFlutter(check)
	case strings.Contains(text, "@pusher/pusher-websocket-react-native"):
		return judgeSetter(check, "React Native", text, gateway, reactHost, nil, "pass host, wsPort and wssPort to init; releases before they existed cannot be moved")
	case javaClient.MatchString(text):
		return judgeSetter(check, "Java or Android", text, gateway, javaHost, javaCluster, `call options.setHost("…") and setWssPort(443), after setCluster if that is called at all`)
	case swiftClient.MatchString(text):
		return judgeSetter(check, "Swift", text, gateway, swiftHost, nil, `use PusherClientOptions(host: .host("…"), port: 443)`)
	case dotnetClient.MatchString(text):
		return judgeSetter(check, ".NET", text, gateway, dotnetHost, nil, `set PusherOptions.Host to "host:port"; it wins over Cluster`)
	}
	regions := clientRegions(text)
	if len(regions) == 0 {
		regions = []string{text}
	}
	var found []finding
	for i, region := range regions {
		name := check
		if len(regions) > 1 {
			name = fmt.Sprintf("%s, client %d", check, i+1)
		}
		found = append(found, judgeBrowser(name, parseOptions(region), gateway)...)
	}
	return found
}

// How the clients that are no browser's are told apart, and where they keep
// their host.
var (
	flutterClient = regexp.MustCompile(`PusherChannelsFlutter|pusher_channels_flutter`)
	javaClient    = regexp.MustCompile(`com\.pusher\.client|new PusherOptions\(\)\s*(;|\.set)|PusherOptions\(\)\.apply`)
	javaHost      = regexp.MustCompile(`(?:setHost\(|\bhost\s*=)\s*"([^"]+)"`)
	javaCluster   = regexp.MustCompile(`setCluster\(`)
	swiftClient   = regexp.MustCompile(`PusherClientOptions|import PusherSwift`)
	swiftHost     = regexp.MustCompile(`\.host\(\s*"([^"]+)"`)
	dotnetClient  = regexp.MustCompile(`using PusherClient|PusherClient\.Pusher|new PusherOptions\s*(\(\))?\s*\{`)
	dotnetHost    = regexp.MustCompile(`\bHost\s*=\s*"([^"]+)"`)
	reactHost     = regexp.MustCompile(`\bhost\s*:\s*["'` + "`" + `]([^"'` + "`" + `]+)`)
	browserClient = regexp.MustCompile(`new\s+Pusher\s*\(|new\s+Echo\s*\(|\bwsHost\b`)
)

// hasClient reports whether a text configures any client.
func hasClient(text string) bool {
	return slices.ContainsFunc([]*regexp.Regexp{browserClient, flutterClient, javaClient, swiftClient, dotnetClient},
		func(e *regexp.Regexp) bool { return e.MatchString(text) })
}

// judgeFlutter: its public API takes a cluster and no host.
func judgeFlutter(check string) []finding {
	return []finding{{check, broken, "the Flutter client takes a cluster and no host: it can reach the vendor only",
		"this blocks the exit of that app: patch or fork the package, use a plain WebSocket package, or keep the vendor bridged until it is gone"}}
}

// judgeSetter judges clients that have one setting for the host. Where a
// cluster that is set later undoes it, cluster finds that.
func judgeSetter(check, kind, text, gateway string, host, cluster *regexp.Regexp, fix string) []finding {
	at := host.FindStringSubmatchIndex(text)
	if at == nil {
		return []finding{{check, broken, "the " + kind + " client sets no host: it reaches the vendor only", fix}}
	}
	if cluster != nil {
		if later := cluster.FindStringIndex(text[at[1]:]); later != nil {
			return []finding{{check, broken, "the " + kind + " client sets its cluster after its host, which puts the vendor's host back", fix}}
		}
	}
	return []finding{judgeHost(check, kind+" client", text[at[2]:at[3]], gateway)}
}

// judgeHost judges one host that a client uses.
func judgeHost(check, what, address, gateway string) finding {
	host := address
	if _, rest, scheme := strings.Cut(address, "://"); scheme {
		host = rest
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	switch {
	case vendorHost(host):
		return finding{check, broken, what + " goes to the vendor: " + address, "set the gateway's host"}
	case gateway != "" && !strings.EqualFold(host, gateway):
		return finding{check, watch, what + " goes to " + address + ", not to " + gateway, "is that the gateway too?"}
	}
	return finding{check, healthy, what + " goes to " + address, ""}
}

// vendorHost reports whether a host is the vendor's own (vendor
// documentation: clusters).
func vendorHost(host string) bool {
	host = strings.ToLower(host)
	return host == "pusher.com" || strings.HasSuffix(host, ".pusher.com") || strings.HasSuffix(host, ".pusherapp.com")
}
