package configs

import (
	"net"
	"strings"
	"time"

	"github.com/offramp/offramp/proxy"
)

// Environment looks up an environment variable; os.LookupEnv is one.
type Environment func(name string) (value string, set bool)

// Config is a whole, checked configuration. It is immutable: a reload makes a
// new one.
type Config struct {
	// File is where it was read from; empty in development mode and when the
	// environment gave it.
	File string

	Listen     string // host:port of clients and the HTTP API
	PathPrefix string // in front of /app, /apps and /pusher; empty or "/…" without a slash at the end
	Admin      Admin
	Data       string // directory of the embedded database; made when absent
	TLS        *TLS   // nil: plain HTTP and WebSocket
	Cluster    Cluster
	Drain      Drain
	Apps       []*proxy.App // at least one; ids and keys are unique
}

// Admin is the second listener: dashboard, metrics, health and JSON API.
type Admin struct {
	Listen string
	Token  proxy.Secret // bearer token; set whenever Listen is not loopback
}

// TLS says where the public listener's certificate comes from: files, or ACME.
type TLS struct {
	Cert string // PEM file, read again on reload
	Key  string // PEM file
	ACME *ACME  // nil: Cert and Key are set
}

// ACME orders certificates from an ACME directory (RFC 8555).
type ACME struct {
	Domains   []string // names to order certificates for; no others are answered
	Email     string   // where the authority writes to
	Directory string   // directory URL; empty: Let's Encrypt
}

// Cluster joins several nodes to one gateway.
type Cluster struct {
	Redis *Redis // nil: one node, no broker
}

// Drain is how a node leaves.
type Drain struct {
	Over time.Duration // connections are closed evenly over this long
}

// Addresses that a configuration listens on unless it says otherwise.
const (
	DefaultListen      = "127.0.0.1:6001"
	DefaultAdminListen = "127.0.0.1:6002"
)

// Credentials of development mode. They are public knowledge, so nothing but
// loopback may listen with them.
const (
	DevelopmentID     = "app-id"
	DevelopmentKey    = "app-key"
	DevelopmentSecret = "app-secret"
)

// defaults returns what a file starts from: everything but apps.
func defaults() *Config {
	return &Config{
		Listen: DefaultListen,
		Admin:  Admin{Listen: DefaultAdminListen},
		Data:   "./offramp-data",
		Drain:  Drain{Over: 60 * time.Second},
	}
}

// Development returns the configuration of `offramp serve` without a file:
// loopback only, one app with the well-known development credentials and
// everything switched on.
func Development() *Config {
	app := proxy.Defaults()
	app.ID = DevelopmentID
	app.Credentials = []proxy.Credential{{Key: DevelopmentKey, Secret: proxy.NewSecret(DevelopmentSecret)}}
	app.ClientEvents = true
	app.SubscriptionCounting = true
	app.Watchlist = true
	cfg := defaults()
	cfg.Apps = []*proxy.App{&app}
	return cfg
}

// FromEnvironment returns a configuration of the one app that PUSHER_APP_ID,
// PUSHER_APP_KEY, PUSHER_APP_SECRET and PUSHER_APP_CLUSTER describe: the names
// that existing deployments already set. It reports false unless all four are
// set. The app is served by the gateway alone; its cluster is kept as the
// upstream, so that a stage can be set later.
func FromEnvironment(env Environment) (*Config, bool) {
	var values [4]string
	for i, name := range [...]string{"PUSHER_APP_ID", "PUSHER_APP_KEY", "PUSHER_APP_SECRET", "PUSHER_APP_CLUSTER"} {
		value, set := env(name)
		if !set || value == "" {
			return nil, false
		}
		values[i] = value
	}
	app := proxy.Defaults()
	app.ID = values[0]
	app.Credentials = []proxy.Credential{{Key: values[1], Secret: proxy.NewSecret(values[2])}}
	app.ClientEvents = true
	app.SubscriptionCounting = true
	app.Watchlist = true
	app.Upstream = vendorCluster(values[3])
	cfg := defaults()
	cfg.Apps = []*proxy.App{&app}
	return cfg, true
}

// vendorCluster returns the vendor's hosts of a cluster such as "eu" (vendor
// documentation: clusters).
func vendorCluster(name string) *proxy.Upstream {
	return &proxy.Upstream{
		WebSocket: "wss://ws-" + name + ".pusher.com",
		API:       "https://api-" + name + ".pusher.com",
		WhenDown:  proxy.WhenDownRefuse,
		Tripwire:  defaultTripwire,
	}
}

// Loopback reports whether a listen address can be reached from this machine
// only. An address without a host listens everywhere, and so is not loopback.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
