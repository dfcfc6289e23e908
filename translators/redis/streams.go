package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
	"github.com/offramp/offramp/translators"
)

// Fields of a stream's entries.
const (
	fieldID     = "id"
	fieldEvent  = "event"
	fieldData   = "data"
	fieldUser   = "user_id"
	fieldExcept = "exclude_socket"
	fieldKind   = "kind"
	fieldOrigin = "origin"
	fieldHops   = "hops"
	fieldTime   = "time" // acceptance, Unix nanoseconds
)

// add appends an entry unless its mirror id was seen within the window, as
// one step. It returns the entry's id, or nothing for a repeat.
var add = redis.NewScript(`
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then return false end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
`)

// fields returns an envelope as an entry's fields.
func fields(e translators.Envelope) []any {
	f := []any{fieldEvent, e.Event, fieldData, e.Data}
	optional := func(name, value string) {
		if value != "" && value != "0" {
			f = append(f, name, value)
		}
	}
	if !e.ID.IsZero() {
		optional(fieldID, e.ID.String())
	}
	optional(fieldUser, e.UserID)
	optional(fieldExcept, string(e.Except))
	optional(fieldKind, strconv.Itoa(int(e.Kind)))
	optional(fieldOrigin, e.Origin)
	optional(fieldHops, strconv.FormatUint(uint64(e.Hops), 10))
	if !e.Ingress.IsZero() {
		optional(fieldTime, strconv.FormatInt(e.Ingress.UnixNano(), 10))
	}
	return f
}

// entry returns what an entry says.
func entry(values map[string]any) translators.Envelope {
	field := func(name string) string { s, _ := values[name].(string); return s }
	id, _ := proxy.ParseEventID(field(fieldID))
	kind, _ := strconv.ParseUint(field(fieldKind), 10, 8)
	hops, _ := strconv.ParseUint(field(fieldHops), 10, 32)
	e := translators.Envelope{
		ID: id, Event: field(fieldEvent), Data: []byte(field(fieldData)), UserID: field(fieldUser),
		Except: protocol.SocketID(field(fieldExcept)), Kind: translators.Kind(kind), Origin: field(fieldOrigin), Hops: uint32(hops),
	}
	if nano, err := strconv.ParseInt(field(fieldTime), 10, 64); err == nil {
		e.Ingress = time.Unix(0, nano)
	}
	return e
}

// streams is a session in streams mode.
type streams struct {
	*session
	wake chan struct{} // one token: there is something to watch
}

func newStreams(s *session) *streams {
	st := &streams{session: s, wake: make(chan struct{}, 1)}
	s.wg.Go(st.read)
	return st
}

// Publish implements translators.Session.
func (s *streams) Publish(ctx context.Context, batch []translators.Envelope) []translators.Result {
	return s.each(ctx, batch, func(pipe redis.Pipeliner, e translators.Envelope) func() (translators.Result, error) {
		key := s.key(e.Channel)
		args := append([]any{s.config.Dedupe.Milliseconds(), s.config.MaxLen}, fields(e)...)
		cmd := add.Eval(ctx, pipe, []string{key, key + ":id:" + e.ID.String()}, args...)
		return func() (translators.Result, error) {
			id, err := cmd.Text()
			if errors.Is(err, redis.Nil) {
				return translators.Result{Code: translators.CodeDuplicate}, nil
			}
			return translators.Result{Code: translators.CodeOK, NativeID: id}, err
		}
	})
}

// Preview implements translators.Previewer.
func (s *streams) Preview(e translators.Envelope) (translators.Native, []translators.Loss) {
	headers := map[string]string{}
	f := fields(e)
	for i := 0; i < len(f); i += 2 {
		if name := f[i].(string); name != fieldData { //nolint:forcetypeassert // names are constants
			headers[name] = fmt.Sprint(f[i+1])
		}
	}
	return translators.Native{Destination: s.key(e.Channel), Headers: headers, Body: e.Data}, nil
}

// Subscribe implements translators.Subscriber. It is confirmed once it is
// known where the stream ends: the reader shows all that follows.
func (s *streams) Subscribe(ctx context.Context, channel protocol.ChannelName, o translators.Observer) (func(), error) {
	key := s.key(channel)
	last, err := s.client.XRevRangeN(ctx, key, "+", "-", 1).Result()
	if err != nil {
		return nil, fmt.Errorf("find the end of stream %s: %w", key, err)
	}
	w := &watch{observer: o, confirmed: make(chan struct{}), last: "0-0"}
	if len(last) > 0 {
		w.last = last[0].ID
	}
	s.mu.Lock()
	w.attach()
	s.watches[key] = w
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.watches[key] == w {
			delete(s.watches, key)
		}
	}, nil
}

const (
	// readBlock bounds a read, and with it how long a new stream waits for the
	// reader to look at it.
	readBlock = 100 * time.Millisecond
	readCount = 256 // entries of one stream at a time
)

// read shows the streams' entries until the session ends.
func (s *streams) read() {
	heard := time.Now()
	for s.ctx.Err() == nil {
		args := s.positions()
		if len(args) == 0 {
			select {
			case <-s.wake:
			case <-s.ctx.Done():
			}
			continue
		}
		found, err := s.client.XRead(s.ctx, &redis.XReadArgs{Streams: args, Count: readCount, Block: readBlock}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			s.detach(heard, err)
			select {
			case <-time.After(retryAfter):
			case <-s.ctx.Done():
			}
			continue
		}
		heard = time.Now()
		s.show(found)
	}
}

// positions returns what XREAD takes: all keys, and then the last id of each.
func (s *streams) positions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, 2*len(s.watches))
	var ids []string
	for key, w := range s.watches {
		keys = append(keys, key)
		ids = append(ids, w.last)
	}
	return append(keys, ids...)
}

// show shows entries. Whatever was detached is attached again: the reader goes
// on where it was, but the server may have come back without what it had.
func (s *streams) show(found []redis.XStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = nil
	for _, stream := range found {
		w, ok := s.watches[stream.Stream]
		if !ok {
			continue
		}
		for _, m := range stream.Messages {
			w.last = m.ID
			w.observer.Deliver(entry(m.Values))
		}
	}
	for _, w := range s.watches {
		w.attach()
	}
}
