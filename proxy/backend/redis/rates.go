package redis

import (
	"context"
	"fmt"

	"github.com/offramp/offramp/proxy"
)

// Rates shares what apps may do per second among all nodes.
type Rates struct {
	keys   keys
	client client
}

var _ proxy.Rates = (*Rates)(nil)

// Take implements proxy.Rates: one round trip.
func (r *Rates) Take(ctx context.Context, app string, least, want, perSecond, burst int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	granted, err := takeScript.Run(ctx, r.client, []string{r.keys.share(app)}, least, want, perSecond, burst).Int()
	if err != nil {
		return 0, fmt.Errorf("redis: take from the share of app %s: %w", app, err)
	}
	return granted, nil
}
