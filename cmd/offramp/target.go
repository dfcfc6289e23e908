package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"
	"github.com/spf13/cobra"

	"github.com/offramp/offramp/configs"
)

// requestTimeout bounds every request of the tools.
const requestTimeout = 15 * time.Second

// target is the Pusher-compatible server that a tool talks to, and the app.
type target struct {
	host   string
	port   int
	tls    bool
	prefix string // path in front of /app and /apps

	appID, key, secret string
}

// addFlags declares the flags that choose the server. Their defaults are the
// PUSHER_* variables that apps already set, and a gateway in development mode
// where there are none.
func (t *target) addFlags(cmd *cobra.Command, env configs.Environment) {
	or := func(name, fallback string) string {
		if value, set := env(name); set && value != "" {
			return value
		}
		return fallback
	}
	tls := or("PUSHER_SCHEME", "http") == "https"
	host := "127.0.0.1"
	if cluster := or("PUSHER_APP_CLUSTER", ""); cluster != "" && or("PUSHER_APP_KEY", "") != "" {
		host, tls = "api-"+cluster+".pusher.com", or("PUSHER_SCHEME", "https") == "https"
	}
	port, _ := strconv.Atoi(or("PUSHER_PORT", "0"))
	flags := cmd.Flags()
	flags.StringVar(&t.host, "host", or("PUSHER_HOST", host), "server's host name or address (PUSHER_HOST)")
	flags.IntVar(&t.port, "port", port, "server's port; 0: 443 with --tls, 6001 without (PUSHER_PORT)")
	flags.BoolVar(&t.tls, "tls", tls, "use TLS (PUSHER_SCHEME=https)")
	flags.StringVar(&t.prefix, "path-prefix", "", "path in front of /app and /apps")
	flags.StringVar(&t.appID, "app-id", or("PUSHER_APP_ID", configs.DevelopmentID), "app id (PUSHER_APP_ID)")
	flags.StringVar(&t.key, "key", or("PUSHER_APP_KEY", configs.DevelopmentKey), "app key (PUSHER_APP_KEY)")
	flags.StringVar(&t.secret, "secret", "", "app secret; default: PUSHER_APP_SECRET")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if t.secret == "" {
			t.secret = or("PUSHER_APP_SECRET", configs.DevelopmentSecret)
		}
		return t.settle(cmd)
	}
}

// settle fills in the port and refuses what cannot be a server.
func (t *target) settle(cmd *cobra.Command) error {
	if t.port == 0 {
		t.port = 6001
		if t.tls {
			t.port = 443
		}
	}
	if t.port < 1 || t.port > 65535 {
		return usage(cmd, fmt.Errorf("--port %d is not a port: use 1 to 65535", t.port))
	}
	if t.host == "" || strings.ContainsAny(t.host, "/:@ ") && net.ParseIP(t.host) == nil {
		return usage(cmd, fmt.Errorf("--host %q is not a host: give the name alone, and the port with --port", t.host))
	}
	return nil
}

func (t *target) address() string { return net.JoinHostPort(t.host, strconv.Itoa(t.port)) }

// api returns a client of the server's HTTP API.
func (t *target) api() *pusher.Client {
	return &pusher.Client{
		AppID: t.appID, Key: t.key, Secret: t.secret,
		Host: t.address() + t.prefix, Secure: t.tls,
		HTTPClient:                  &http.Client{Timeout: requestTimeout},
		OverrideMaxMessagePayloadKB: 1024, // the server decides
	}
}

// webSocket returns the URL that a client connects to.
func (t *target) webSocket(library string) string {
	u := url.URL{Scheme: "ws", Host: t.address(), Path: t.prefix + "/app/" + t.key}
	if t.tls {
		u.Scheme = "wss"
	}
	u.RawQuery = url.Values{"protocol": {"7"}, "client": {library}, "version": {version}}.Encode()
	return u.String()
}

// failed says what could not be done. The request's URL, which is signed, is
// left out.
func (t *target) failed(what string, err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Errorf("%s at %s: %s", what, t.address(), strings.TrimSpace(err.Error()))
}
