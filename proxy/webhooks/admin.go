package webhooks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// Status is how one receiver stands.
type Status struct {
	Receiver     string    `json:"receiver"` // its id
	App          string    `json:"app"`
	URL          string    `json:"url"` // without password and query
	Configured   bool      `json:"configured"`
	Batch        bool      `json:"batch"`
	Down         bool      `json:"down"` // nothing gets through
	Pending      int       `json:"pending"`
	PendingBytes int64     `json:"pending_bytes"`
	InFlight     int       `json:"in_flight"` // requests
	Retrying     int       `json:"retrying"`  // requests that failed
	NextTry      time.Time `json:"next_try,omitzero"`
	Dead         int       `json:"dead"`
	Delivered    int       `json:"delivered"`       // events since the start
	Failed       int       `json:"failed_requests"` // since the start
	LastSuccess  time.Time `json:"last_success,omitzero"`
	Attempts     []Attempt `json:"attempts"` // latest first, at most 50
}

// Status returns every receiver that is configured or has letters left, by
// id.
func (o *Outbox) Status() []Status {
	var all []Status
	for _, r := range o.everyReceiver() {
		if s := r.status(); s.Configured || s.Pending > 0 || s.Dead > 0 {
			all = append(all, s)
		}
	}
	return all
}

func (o *Outbox) everyReceiver() []*receiver {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]*receiver, 0, len(o.receivers))
	for _, r := range o.receivers {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *receiver) int { return cmp.Compare(a.id, b.id) })
	return all
}

func (r *receiver) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		Receiver: r.id, App: r.about.App, URL: r.about.URL,
		Configured: !r.retired, Batch: r.hook.Batch, Down: r.queue.down,
		Pending: r.queue.letters, PendingBytes: r.queue.bytes,
		InFlight: r.queue.inflight, Retrying: len(r.queue.retries), Dead: r.dead.records,
		Delivered: r.history.delivered, Failed: r.history.failed, LastSuccess: r.history.success,
		Attempts: r.history.newest(),
	}
	if len(r.queue.retries) > 0 {
		s.NextTry = r.queue.retries[0].due
	}
	return s
}

// Filter selects letters. Each field that is set narrows it.
type Filter struct {
	App      string
	Receiver string // its id
	Type     proxy.WebhookType
	Channel  string    // name pattern, "*" for any run of characters
	Since    time.Time // accepted then or later
	Until    time.Time // accepted before
	Limit    int       // at most so many, oldest first per receiver; 0: all
}

func (f Filter) receiver(r *receiver) bool {
	return (f.App == "" || f.App == r.about.App) && (f.Receiver == "" || f.Receiver == r.id)
}

func (f Filter) letter(l letter) bool {
	return (f.Type == "" || f.Type == l.Type) &&
		(f.Channel == "" || proxy.MatchPattern(f.Channel, string(l.Channel))) &&
		(f.Since.IsZero() || !l.At.Before(f.Since)) &&
		(f.Until.IsZero() || l.At.Before(f.Until))
}

// Letter is a webhook event in the outbox.
type Letter struct {
	Receiver string               `json:"receiver"`
	Seq      uint64               `json:"seq"` // unique within its receiver
	Accepted time.Time            `json:"accepted"`
	Type     proxy.WebhookType    `json:"type"`
	Channel  protocol.ChannelName `json:"channel"`
	Event    json.RawMessage      `json:"event"`
	// Of dead letters only.
	Died     time.Time `json:"died,omitzero"`
	Attempts int       `json:"attempts,omitempty"`
	Reason   string    `json:"reason,omitempty"`
}

func publicLetter(receiver string, seq uint64, l letter) Letter {
	return Letter{Receiver: receiver, Seq: seq, Accepted: l.At, Type: l.Type, Channel: l.Channel, Event: l.Event}
}

// Pending returns the letters that wait for delivery or are in flight.
func (o *Outbox) Pending(f Filter) ([]Letter, error) {
	return o.list(f, func(m mailbox) *bbolt.Bucket { return m.pending }, func(receiver string, seq uint64, raw []byte) (letter, Letter, error) {
		l, err := decodeLetter(raw)
		return l, publicLetter(receiver, seq, l), err
	})
}

// Dead returns the dead letters.
func (o *Outbox) Dead(f Filter) ([]Letter, error) {
	return o.list(f, func(m mailbox) *bbolt.Bucket { return m.dead }, func(receiver string, seq uint64, raw []byte) (letter, Letter, error) {
		d, err := decodeDead(raw)
		shown := publicLetter(receiver, seq, d.letter)
		shown.Died, shown.Attempts, shown.Reason = d.Died, d.Attempts, d.Reason
		return d.letter, shown, err
	})
}

func (o *Outbox) list(f Filter, bucket func(mailbox) *bbolt.Bucket, decode func(string, uint64, []byte) (letter, Letter, error)) ([]Letter, error) {
	var found []Letter
	err := o.settings.DB.View(func(tx *bbolt.Tx) error {
		for _, r := range o.everyReceiver() {
			if !f.receiver(r) {
				continue
			}
			c := bucket(openMailbox(tx, r.id)).Cursor()
			for k, v := c.First(); k != nil && (f.Limit == 0 || len(found) < f.Limit); k, v = c.Next() {
				l, shown, err := decode(r.id, seqOf(k), v)
				if err != nil {
					return fmt.Errorf("receiver %s, letter %d: %w", r.id, seqOf(k), err)
				}
				if f.letter(l) {
					found = append(found, shown)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read webhook outbox: %w", err)
	}
	return found, nil
}

// Replay makes dead letters pending again, behind those that are, and in the
// order in which they were accepted. It returns how many there were. Letters
// of receivers that are no longer configured stay dead. It needs Run, and
// ends with ctx's error if that does not get to it.
func (o *Outbox) Replay(ctx context.Context, f Filter) (int, error) {
	replayed := 0
	left := f.Limit
	for _, r := range o.everyReceiver() {
		if !f.receiver(r) || !r.status().Configured {
			continue
		}
		n, err := r.replay(ctx, f, left)
		replayed += n
		if err != nil {
			return replayed, fmt.Errorf("replay to %s: %w", r.id, err)
		}
		if left -= n; f.Limit > 0 && left <= 0 {
			break
		}
	}
	return replayed, nil
}

// replay asks the committer to revive a receiver's dead letters, at most limit
// of them, or all if that is 0.
func (r *receiver) replay(ctx context.Context, f Filter, limit int) (int, error) {
	done := make(chan int, 1)
	r.intake.write(func(tx *bbolt.Tx) error {
		revived, freed, err := openMailbox(tx, r.id).revive(f, limit)
		if err != nil {
			return err
		}
		tx.OnCommit(func() {
			r.revived(revived, freed)
			done <- len(revived)
		})
		return nil
	})
	select {
	case n := <-done:
		return n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// revived takes up what a committed replay made pending.
func (r *receiver) revived(letters []delivery, freed tally) {
	r.mu.Lock()
	r.dead.records -= freed.records
	r.dead.bytes -= freed.bytes
	r.mu.Unlock()
	r.add(letters)
}
