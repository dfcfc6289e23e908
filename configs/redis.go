package configs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/offramp/offramp/proxy"
)

// Redis is the Redis or Valkey that nodes meet at: one server, servers that
// Sentinels watch, or a Redis Cluster.
type Redis struct {
	URL       proxy.Secret   // redis:// or rediss://, of the server, a Sentinel or a node; may hold a password
	Prefix    string         // in front of every key and channel, so that clusters can share a server
	Addresses []string       // host:port of further Sentinels or nodes
	Sentinel  *RedisSentinel // nil: no Sentinels
	Sharded   bool           // a Redis Cluster
	TLS       *RedisTLS      // nil: the system's authorities, and no certificate of our own
}

// RedisSentinel is what Sentinels are asked for, and as whom.
type RedisSentinel struct {
	Master   string // the name that they watch it under
	Username string // empty: none
	Password proxy.Secret
}

// RedisTLS is what TLS needs beyond the system's authorities.
type RedisTLS struct {
	CA         string // PEM file of authorities; empty: the system's
	Cert, Key  string // PEM files; empty: no certificate of our own
	ServerName string // that the server's certificate is for; empty: the address's host
}

// Load reads the files.
func (t *RedisTLS) Load() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		raw, err := readBounded(t.CA, maxFileBytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", t.CA, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(raw) {
			return nil, errors.New("there is no PEM certificate in " + t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func redisSettings(c *Redis) []setting {
	return []setting{
		needed(secret("url", &c.URL)),
		text("prefix", &c.Prefix, "text in front of every Redis key", redisPrefix),
		texts("addresses", &c.Addresses, "a list of host:port", redisAddress),
		optional("sentinel", &c.Sentinel, func(s *RedisSentinel) []setting {
			return []setting{
				needed(text("master", &s.Master, "the name that the Sentinels watch the master under", filled)),
				text("username", &s.Username, "a user of the Sentinels", filled),
				secret("password", &s.Password),
			}
		}),
		boolean("sharded", &c.Sharded),
		optional("tls", &c.TLS, func(t *RedisTLS) []setting {
			return []setting{
				file("ca", &t.CA, "a PEM file"),
				file("cert", &t.Cert, "a PEM file"),
				file("key", &t.Key, "a PEM file"),
				text("server_name", &t.ServerName, "a host name", hostName),
			}
		}),
	}
}

func redisAddress(s string) (problem, fix string) {
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || n == 0 || host == "" || net.ParseIP(host) == nil && !hostShape.MatchString(host) {
		return strconv.Quote(clip(s)) + " is not the address of a server", "Write host:port, such as redis-2.internal:26379"
	}
	return "", ""
}

// redis: a URL, and no more than one form of Redis behind it. The URL may
// hold a password, so no part of it is repeated.
func (r *reader) redis(c *Redis) {
	if c == nil || c.URL.IsZero() {
		return
	}
	const at = "cluster.redis"
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "" {
		r.problem(at+".url", "This is not a Redis URL", `Write "redis://host:6379/0", or rediss:// for TLS`)
		return
	}
	switch {
	case c.Sentinel != nil && c.Sharded:
		r.problem(at+".sharded", "Sentinels do not watch a Redis Cluster", "Keep sentinel, or sharded: true")
	case c.Sharded && strings.Trim(u.Path, "/0") != "":
		r.problem(at+".url", "A Redis Cluster has database 0 only", "Remove the path of the URL")
	case len(c.Addresses) > 0 && c.Sentinel == nil && !c.Sharded:
		r.problem(at+".addresses", "There are several addresses, and it is not said of what", "Add sentinel with its master, or sharded: true for a Redis Cluster")
	}
	r.redisTLS(c.TLS, u.Scheme)
}

func (r *reader) redisTLS(t *RedisTLS, scheme string) {
	if t == nil {
		return
	}
	const at = "cluster.redis.tls"
	switch {
	case scheme != "rediss":
		r.problem(at, "The URL is one without TLS", "Write rediss:// in the URL, or remove tls")
	case (t.Cert == "") != (t.Key == ""):
		r.problem(at, "A certificate and its key go together", "Give both cert and key, or neither")
	default:
		r.redisFiles(t)
	}
}

func (r *reader) redisFiles(t *RedisTLS) {
	const at = "cluster.redis.tls"
	for _, f := range [...]struct{ key, name string }{{"ca", t.CA}, {"cert", t.Cert}, {"key", t.Key}} {
		if f.name == "" {
			continue
		}
		if _, err := readBounded(f.name, maxFileBytes); err != nil {
			r.problem(at+"."+f.key, fileProblem(err)+" ("+clip(f.name)+")", "Give the path of a PEM file that this user can read")
			return
		}
	}
	if _, err := t.Load(); err != nil {
		r.problem(at, "These files cannot be used: "+err.Error(), "Give PEM certificates, and the unencrypted key that belongs to cert")
	}
}
