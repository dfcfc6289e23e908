package webhooks

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// The outbox on disk: one bucket of the gateway's database.
//
//	webhooks/
//	  told/                        subject → its legs, one byte
//	  receivers/ID/about           JSON of about
//	  receivers/ID/pending/SEQ     letter
//	  receivers/ID/requests/SEQ    attempted; SEQ is its first letter's
//	  receivers/ID/dead/SEQ        deadLetter, under the number it had when pending
//
// SEQ is eight bytes, big endian, and counts up for the life of a receiver.
var (
	rootBucket      = []byte("webhooks")
	toldBucket      = []byte("told")
	receiversBucket = []byte("receivers")
	aboutKey        = []byte("about")
	pendingBucket   = []byte("pending")
	requestsBucket  = []byte("requests")
	deadBucket      = []byte("dead")
)

// about is what is kept of a receiver beside its letters, so that dead
// letters can be told apart when the configuration no longer names it. The
// URL is without its password and query.
type about struct {
	App string `json:"app"`
	URL string `json:"url"`
}

// prepare creates the outbox's buckets.
func prepare(tx *bbolt.Tx) error {
	root, err := tx.CreateBucketIfNotExists(rootBucket)
	if err != nil {
		return err
	}
	_, errTold := root.CreateBucketIfNotExists(toldBucket)
	_, errReceivers := root.CreateBucketIfNotExists(receiversBucket)
	return errors.Join(errTold, errReceivers)
}

func told(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(rootBucket).Bucket(toldBucket) }

func receivers(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(rootBucket).Bucket(receiversBucket) }

// mailbox is one receiver's part of the outbox within a transaction.
type mailbox struct{ pending, requests, dead *bbolt.Bucket }

func openMailbox(tx *bbolt.Tx, id string) mailbox {
	b := receivers(tx).Bucket([]byte(id))
	return mailbox{b.Bucket(pendingBucket), b.Bucket(requestsBucket), b.Bucket(deadBucket)}
}

func createMailbox(tx *bbolt.Tx, id string, a about) error {
	b, err := receivers(tx).CreateBucketIfNotExists([]byte(id))
	if err != nil {
		return err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := b.Put(aboutKey, text); err != nil {
		return err
	}
	for _, name := range [][]byte{pendingBucket, requestsBucket, deadBucket} {
		if _, err := b.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// storedReceivers returns every receiver that has a mailbox, by id.
func storedReceivers(tx *bbolt.Tx) (map[string]about, error) {
	all := map[string]about{}
	err := receivers(tx).ForEachBucket(func(id []byte) error {
		var a about
		if err := json.Unmarshal(receivers(tx).Bucket(id).Get(aboutKey), &a); err != nil {
			return fmt.Errorf("receiver %s: %w", id, err)
		}
		all[string(id)] = a
		return nil
	})
	return all, err
}

// append adds a letter at the end of the pending ones.
func (m mailbox) append(l letter) (entry, error) {
	seq, err := m.pending.NextSequence()
	if err != nil {
		return entry{}, err
	}
	raw := l.encode()
	return entry{seq: seq, bytes: len(raw), since: l.At}, m.pending.Put(seqKey(seq), raw)
}

// letter returns a pending letter.
func (m mailbox) letter(seq uint64) (letter, error) {
	l, err := decodeLetter(m.pending.Get(seqKey(seq)))
	if err != nil {
		return l, fmt.Errorf("letter %d: %w", seq, err)
	}
	return l, nil
}

// settle removes delivered letters, and the request that held them.
func (m mailbox) settle(seqs []uint64) error {
	for _, seq := range seqs {
		if err := m.pending.Delete(seqKey(seq)); err != nil {
			return err
		}
	}
	return m.requests.Delete(seqKey(seqs[0]))
}

// bury makes letters dead ones, and removes the request that held them. It
// returns what the dead letters come to.
func (m mailbox) bury(seqs []uint64, died time.Time, attempts int, reason string) (buried tally, err error) {
	for _, seq := range seqs {
		l, err := m.letter(seq)
		if errors.Is(err, errRecord) {
			continue // damaged, or gone: nothing to keep
		}
		if err != nil {
			return buried, err
		}
		raw := deadLetter{letter: l, Died: died, Attempts: attempts, Reason: reason}.encode()
		if err := m.dead.Put(seqKey(seq), raw); err != nil {
			return buried, err
		}
		buried.records++
		buried.bytes += int64(len(raw))
	}
	return buried, m.settle(seqs)
}

// discard removes the oldest dead letters until at least excess bytes are
// free, and returns what went.
func (m mailbox) discard(excess int64) (lost tally, err error) {
	for lost.bytes < excess {
		k, v := m.dead.Cursor().First()
		if k == nil {
			break
		}
		lost.records++
		lost.bytes += int64(len(v))
		if err := m.dead.Delete(k); err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// revive makes dead letters that pass f pending again, at most limit of them,
// or all if that is 0. It returns them, and what they had come to as dead.
func (m mailbox) revive(f Filter, limit int) (revived []delivery, freed tally, err error) {
	now := time.Now()
	var keys [][]byte
	c := m.dead.Cursor()
	for k, v := c.First(); k != nil && (limit == 0 || len(keys) < limit); k, v = c.Next() {
		d, err := decodeDead(v)
		if err != nil || !f.letter(d.letter) {
			continue
		}
		e, err := m.append(d.letter)
		if err != nil {
			return nil, freed, err
		}
		e.since = now
		revived = append(revived, delivery{d.Channel, e})
		keys = append(keys, bytes.Clone(k))
		freed.records++
		freed.bytes += int64(len(v))
	}
	for _, k := range keys {
		if err := m.dead.Delete(k); err != nil {
			return nil, freed, err
		}
	}
	return revived, freed, nil
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func seqOf(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// contents is what a mailbox held when it was opened.
type contents struct {
	pending  []pendingLetter // in order
	requests []attempted
	dead     tally
	damaged  [][]byte // keys of pending records that cannot be read
	stale    [][]byte // keys of requests whose letters are not there
}

type pendingLetter struct {
	entry
	channel string
}

func (m mailbox) contents() (c contents) {
	cursor := m.pending.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		l, err := decodeLetter(v)
		if err != nil {
			c.damaged = append(c.damaged, bytes.Clone(k))
			continue
		}
		c.pending = append(c.pending, pendingLetter{entry{seqOf(k), len(v), l.At}, string(l.Channel)})
	}
	cursor = m.requests.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		a, err := decodeAttempted(v)
		if err != nil || a.Seqs[0] != seqOf(k) {
			c.stale = append(c.stale, bytes.Clone(k))
			continue
		}
		c.requests = append(c.requests, a)
	}
	cursor = m.dead.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		c.dead.records++
		c.dead.bytes += int64(len(v))
	}
	return c
}

// clean removes the records of c that are of no use.
func (m mailbox) clean(c contents) error {
	for _, k := range c.damaged {
		if err := m.pending.Delete(k); err != nil {
			return err
		}
	}
	for _, k := range c.stale {
		if err := m.requests.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
