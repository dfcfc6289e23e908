package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Moves keeps what all nodes have to know of the moves of apps from stage to
// stage, as opaque records. It implements proxy/route.Shared.
type Moves struct {
	keys   keys
	client client
}

// lastMost is how many apps are asked about in one round trip.
const lastMost = 256

// Last returns the last record of each app, empty for one without any.
func (m *Moves) Last(ctx context.Context, apps []string) ([][]byte, error) {
	all := make([][]byte, 0, len(apps))
	for part := range slices.Chunk(apps, lastMost) {
		lasts, err := m.last(ctx, part)
		if err != nil {
			return nil, err
		}
		all = append(all, lasts...)
	}
	return all, nil
}

func (m *Moves) last(ctx context.Context, apps []string) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pipe := m.client.Pipeline()
	answers := make([]*redis.StringSliceCmd, len(apps))
	for i, app := range apps {
		answers[i] = pipe.ZRevRange(ctx, m.keys.moves(app), 0, 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("redis: look for moves: %w", err)
	}
	lasts := make([][]byte, len(apps))
	for i, answer := range answers {
		if list := answer.Val(); len(list) > 0 {
			lasts[i] = []byte(list[0])
		}
	}
	return lasts, nil
}

// All returns an app's records, oldest first.
func (m *Moves) All(ctx context.Context, app string) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*timeout)
	defer cancel()
	list, err := m.client.ZRange(ctx, m.keys.moves(app), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("redis: read the moves of app %s: %w", app, err)
	}
	records := make([][]byte, len(list))
	for i, text := range list {
		records[i] = []byte(text)
	}
	return records, nil
}

// Append adds records to an app's if the last one is still the one given,
// empty for none, and reports whether it was. Beyond most records the oldest
// are dropped. All is one step. Records are never the same.
func (m *Moves) Append(ctx context.Context, app string, last []byte, records [][]byte, most int) (bool, error) {
	if len(records) > most {
		return false, errors.New("redis: more moves than are kept")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*timeout)
	defer cancel()
	args := make([]any, 0, len(records)+2)
	args = append(args, last, most)
	for _, r := range records {
		args = append(args, r)
	}
	n, err := moveScript.Run(ctx, m.client, []string{m.keys.moves(app)}, args...).Int()
	if err != nil {
		return false, fmt.Errorf("redis: add moves of app %s: %w", app, err)
	}
	return n == 1, nil
}
