package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
)

// Server says where Redis is.
type Server struct {
	// URL is redis://user:password@host:port/db, or rediss:// for TLS: of the
	// server, or of one Sentinel or node of a Cluster.
	URL       proxy.Secret
	Addresses []string  // host:port of further Sentinels or nodes
	Sentinel  *Sentinel // nil: no Sentinels
	Sharded   bool      // a Redis Cluster, version 7 or later
	// TLS holds authorities and client certificates, for rediss:// only. Nil:
	// the system's authorities.
	TLS *tls.Config
}

// Sentinel is what Sentinels are asked for, and as whom. The user and
// password of the URL are those of the servers that they watch.
type Sentinel struct {
	Master   string
	Username string // empty: none
	Password proxy.Secret
}

// client hides whether Redis is one server at a time or a Cluster.
type client struct {
	redis.UniversalClient
	cluster *redis.ClusterClient // nil: one server at a time
}

func newClient(s Server) (client, error) {
	o, err := redis.ParseURL(s.URL.Reveal())
	if err != nil {
		return client{}, errors.New("redis: the URL cannot be used: write redis://host:6379/0, or rediss:// for TLS") // the cause repeats the password
	}
	if o.TLSConfig != nil && s.TLS != nil {
		o.TLSConfig = s.TLS
	}
	addresses := append([]string{o.Addr}, s.Addresses...)
	if o.TLSConfig != nil && len(addresses) > 1 && s.TLS == nil {
		o.TLSConfig.ServerName = "" // each answers to its own
	}
	// Nothing is tried twice: a publish that was may arrive twice.
	switch {
	case s.Sentinel != nil:
		return client{UniversalClient: redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: s.Sentinel.Master, SentinelAddrs: addresses,
			SentinelUsername: s.Sentinel.Username, SentinelPassword: s.Sentinel.Password.Reveal(),
			Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig, MaxRetries: -1,
			DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, ContextTimeoutEnabled: true,
			Protocol: 2, DisableIdentity: true,
		})}, nil
	case s.Sharded:
		cluster := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: addresses, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig, MaxRetries: -1, MaxRedirects: -1,
			DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, ContextTimeoutEnabled: true,
			Protocol: 2, DisableIdentity: true,
		})
		return client{UniversalClient: cluster, cluster: cluster}, nil
	}
	o.MaxRetries, o.Protocol, o.DisableIdentity = -1, 2, true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = timeout, timeout, timeout, true
	return client{UniversalClient: redis.NewClient(o)}, nil
}

// identity returns the run ids of the servers that are written to. It changes
// when one of them was restarted, or another has taken its place.
func (c client) identity(ctx context.Context) (string, error) {
	if c.cluster == nil {
		return runID(ctx, c)
	}
	var mu sync.Mutex
	var ids []string
	err := c.cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		id, err := runID(ctx, master)
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, id)
		return err
	})
	slices.Sort(ids)
	return strings.Join(ids, " "), err
}

func runID(ctx context.Context, c redis.Cmdable) (string, error) {
	info, err := c.Info(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("ask redis who it is: %w", err)
	}
	_, rest, _ := strings.Cut(info, "run_id:")
	id, _, _ := strings.Cut(rest, "\r\n")
	return id, nil
}

// links returns a connection for events to each master, by its address.
func (c client) links(ctx context.Context) (map[string]*part, error) {
	if c.cluster == nil {
		return map[string]*part{"": {pubsub: c.Subscribe(ctx), master: c}}, nil
	}
	c.cluster.ReloadState(ctx)
	var mu sync.Mutex
	all := make(map[string]*part)
	err := c.cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all[master.Options().Addr] = &part{pubsub: master.SSubscribe(ctx), master: master}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the masters: %w", err)
	}
	return all, nil
}

// masterOf returns the address of the connection on which a channel's events
// come.
func (c client) masterOf(ctx context.Context, channel string) (string, error) {
	if c.cluster == nil {
		return "", nil
	}
	master, err := c.cluster.MasterForKey(ctx, channel)
	if err != nil {
		return "", fmt.Errorf("find the master of a channel: %w", err)
	}
	return master.Options().Addr, nil
}

func (c client) subscribe(ctx context.Context, p *redis.PubSub, channels ...string) error {
	if c.cluster == nil {
		return p.Subscribe(ctx, channels...)
	}
	for _, channel := range channels { // together they would have to be of one slot
		if err := p.SSubscribe(ctx, channel); err != nil {
			return err
		}
	}
	return nil
}

func (c client) unsubscribe(ctx context.Context, p *redis.PubSub, channel string) error {
	if c.cluster == nil {
		return p.Unsubscribe(ctx, channel)
	}
	return p.SUnsubscribe(ctx, channel)
}

// publishCommand is what scripts publish with.
func (c client) publishCommand() string {
	if c.cluster == nil {
		return "PUBLISH"
	}
	return "SPUBLISH"
}
