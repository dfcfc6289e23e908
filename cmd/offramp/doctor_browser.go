package main

import (
	"regexp"
	"slices"
	"strings"
)

// Browser clients (pusher-js, Laravel Echo) have several hosts: one for
// WebSockets, one for the HTTP fallback, one for statistics. What each is when
// it is not set is the vendor's.

// option is one option of a client, as far as its source says it.
type option struct {
	text  string   // its value, or the expression that computes it
	known bool     // text is the value
	list  []string // elements, when it is a list of texts
}

// clientOptions are a browser client's options by name.
type clientOptions map[string]option

var clientStart = regexp.MustCompile(`new\s+(?:[\w$]+\.)*(?:Pusher|Echo)\s*\(`)

// clientRegions returns the argument lists of every client that a script
// makes.
func clientRegions(text string) []string {
	var regions []string
	for _, at := range clientStart.FindAllStringIndex(text, -1) {
		open := at[0] + strings.IndexByte(text[at[0]:], '(')
		region := text[open:closing(text, open)]
		if strings.Contains(region, "{") {
			regions = append(regions, region)
		}
	}
	return regions
}

// closing returns the index behind the bracket that closes the one at open,
// or the end of the text. Brackets in strings do not count.
func closing(text string, open int) int {
	depth := 0
	for i := open; i < len(text); i++ {
		switch text[i] {
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"', '\'', '`':
			i = endOfString(text, i)
		}
	}
	return len(text)
}

// endOfString returns the index of the quote that ends the string at start, or
// the last index of the text.
func endOfString(text string, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[start]:
			return i
		}
	}
	return len(text) - 1
}

var optionName = regexp.MustCompile(`["']?\b(wsHost|wsPort|wssPort|wsPath|httpHost|httpPort|httpsPort|httpPath|statsHost|forceTLS|encrypted|` +
	`enabledTransports|disabledTransports|cluster|enableStats|disableStats|broadcaster)\b["']?\s*[:=]\s*`)

// parseOptions reads the options out of JavaScript, JSON or lines of name=value.
func parseOptions(text string) clientOptions {
	options := clientOptions{}
	for _, m := range optionName.FindAllStringSubmatchIndex(text, -1) {
		name := text[m[2]:m[3]]
		if _, twice := options[name]; !twice {
			options[name] = parseOption(text[m[1]:])
		}
	}
	return options
}

var (
	plainValue = regexp.MustCompile(`^(?:true|false|!0|!1|-?\d+|null|undefined)\b`)
	quoted     = regexp.MustCompile("[\"'`]([^\"'`]*)[\"'`]")
)

// parseOption reads the value that text begins with.
func parseOption(text string) option {
	if text == "" {
		return option{}
	}
	switch text[0] {
	case '"', '\'', '`':
		end := endOfString(text, 0)
		value := text[min(1, end):end]
		rest := strings.TrimLeft(text[min(end+1, len(text)):], " \t")
		computed := strings.Contains(value, "${") || rest != "" && strings.ContainsRune("+?.|&", rune(rest[0]))
		return option{text: value, known: !computed}
	case '[':
		var list []string
		for _, m := range quoted.FindAllStringSubmatch(text[:closing(text, 0)], -1) {
			list = append(list, m[1])
		}
		return option{text: text[:closing(text, 0)], known: true, list: list}
	}
	if value := plainValue.FindString(text); value != "" {
		value = strings.NewReplacer("!0", "true", "!1", "false").Replace(value)
		rest := strings.TrimLeft(text[len(plainValue.FindString(text)):], " \t")
		return option{text: value, known: rest == "" || !strings.ContainsRune("?.|&=", rune(rest[0]))}
	}
	end := strings.IndexAny(text, ",}\n;")
	if end < 0 {
		end = len(text)
	}
	return option{text: strings.TrimSpace(text[:min(end, 120)])}
}

// value returns an option's value, or fallback when it is not set.
func (o clientOptions) value(name, fallback string) string {
	if v, ok := o[name]; ok && v.known && v.text != "" && v.text != "null" && v.text != "undefined" {
		return v.text
	}
	return fallback
}

// set reports whether an option is given, by value or by an expression.
func (o clientOptions) set(name string) bool { return o[name].text != "" }

// computed reports whether an option is an expression, whose value only the
// built app knows.
func (o clientOptions) computed(name string) bool { return o.set(name) && !o[name].known }

// httpTransports are the fallbacks of a browser client.
var httpTransports = []string{"xhr_streaming", "xhr_polling", "sockjs"}

// allows reports whether a transport may be used: enabledTransports is a list
// of those that may, disabledTransports of those that may not.
func (o clientOptions) allows(transport string) bool {
	if enabled, ok := o["enabledTransports"]; ok && enabled.known && !slices.Contains(enabled.list, transport) {
		return false
	}
	return !slices.Contains(o["disabledTransports"].list, transport)
}

// judgeBrowser says where a browser client goes.
func judgeBrowser(check string, o clientOptions, gateway string) []finding {
	var found []finding
	if !o.set("cluster") && o["broadcaster"].text != "reverb" {
		found = append(found, finding{check, watch, "no cluster is set, which pusher-js 8 insists on even with hosts of one's own", `add cluster: "any"`})
	}
	found = append(found, judgeWebSocket(check, o, gateway), judgeFallback(check, o, gateway))
	if enabled := o.value("enableStats", "") == "true" || o.value("disableStats", "") == "false"; enabled && !o.set("statsHost") {
		found = append(found, finding{check, watch, "statistics go to the vendor: stats.pusher.com", "remove enableStats, or set statsHost"})
	}
	return found
}

// judgeWebSocket: with TLS, which is the default, wssPort counts; without,
// wsPort.
func judgeWebSocket(check string, o clientOptions, gateway string) finding {
	if o.computed("wsHost") {
		return finding{check, watch, "wsHost is computed when the app is built or started: " + o["wsHost"].text, "give the URL of the built page to see its value"}
	}
	scheme, port := "wss", o.value("wssPort", "443")
	if o.value("forceTLS", o.value("encrypted", "true")) == "false" {
		scheme, port = "ws", o.value("wsPort", "80")
	}
	host := o.value("wsHost", "ws-"+o.value("cluster", "mt1")+".pusher.com")
	if o.set("wsHost") && scheme == "wss" && o.set("wsPort") && !o.set("wssPort") {
		return finding{check, watch, "TLS is on, so wsPort does not count and the port is 443: wss://" + host + ":443", "set wssPort, or forceTLS: false for a server without TLS"}
	}
	return judgeHost(check, "WebSocket", scheme+"://"+host+":"+port, gateway)
}

// judgeFallback finds the trap: hosts of one's own for WebSockets, and the
// vendor's for the fallback, to which browsers go after two seconds.
func judgeFallback(check string, o clientOptions, gateway string) finding {
	var allowed []string
	for _, t := range httpTransports {
		if o.allows(t) {
			allowed = append(allowed, t)
		}
	}
	switch {
	case len(allowed) == 0:
		return finding{check, healthy, "the HTTP fallback is off: where WebSockets are blocked, this client does not connect", ""}
	case o.computed("httpHost"):
		return finding{check, watch, "httpHost is computed when the app is built or started: " + o["httpHost"].text, "give the URL of the built page to see its value"}
	case !o.set("httpHost") && o.set("wsHost"):
		return finding{check, broken, "the fallback (" + strings.Join(allowed, ", ") + ") goes to the vendor, https://sockjs-" + o.value("cluster", "mt1") +
			".pusher.com: a client whose WebSocket is slow for 2 s is connected to the wrong network, and stays there for 30 minutes",
			`set httpHost, httpPort and httpsPort to the gateway's, or enabledTransports: ["ws", "wss"]`}
	}
	scheme, port := "https", o.value("httpsPort", "443")
	if o.value("forceTLS", o.value("encrypted", "true")) == "false" {
		scheme, port = "http", o.value("httpPort", "80")
	}
	return judgeHost(check, "HTTP fallback", scheme+"://"+o.value("httpHost", "sockjs-"+o.value("cluster", "mt1")+".pusher.com")+":"+port, gateway)
}
