package redis

import (
	"context"
	"fmt"
	"time"
)

// Departures holds back what webhooks tell of departures, for all nodes
// together. Each call is one round trip.
type Departures struct {
	keys   keys
	client client
}

// Hold notes a departure under a key.
func (d *Departures) Hold(ctx context.Context, key string, expires time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := d.client.Set(ctx, d.keys.departure(key), "1", expires).Err(); err != nil {
		return fmt.Errorf("redis: hold a departure: %w", err)
	}
	return nil
}

// Take ends a note and reports whether there was one.
func (d *Departures) Take(ctx context.Context, key string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	n, err := d.client.Del(ctx, d.keys.departure(key)).Result()
	if err != nil {
		return false, fmt.Errorf("redis: take a departure: %w", err)
	}
	return n > 0, nil
}
