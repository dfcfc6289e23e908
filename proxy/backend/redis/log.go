package redis

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// LogTo has what the client library says by itself logged, at the level
// debug: what matters of it comes back as errors. It holds for the whole
// process, as the library has one logger.
func LogTo(log zerolog.Logger) { redis.SetLogger(libraryLog{log}) }

type libraryLog struct{ log zerolog.Logger }

// Printf implements the library's logger.
func (l libraryLog) Printf(_ context.Context, format string, args ...any) {
	l.log.Debug().Msgf(format, args...)
}
