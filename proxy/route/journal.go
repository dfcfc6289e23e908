package route

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Entry is one line of the journal: a move that was made, or a note.
type Entry struct {
	Seq uint64    `json:"seq"` // counts from 1
	At  time.Time `json:"at"`
	Who string    `json:"who"`
	Why string    `json:"why,omitempty"`
	Move
	New        bool        `json:"new,omitempty"`        // the channels had no rule of their own before
	Undoes     uint64      `json:"undoes,omitempty"`     // a rollback: the entry it took back
	Overridden []Objection `json:"overridden,omitempty"` // what force overcame
	Note       string      `json:"note,omitempty"`       // something else that happened; then nothing moved
}

var (
	journalBucket   = []byte("route.journal")   // sequence number → Entry
	overridesBucket = []byte("route.overrides") // app, 0, channels → override
)

// journal keeps entries and the overrides that they led to, together.
type journal struct{ db *bbolt.DB }

func newJournal(db *bbolt.DB) (journal, error) {
	err := db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(journalBucket); err != nil {
			return err
		}
		_, err := tx.CreateBucketIfNotExists(overridesBucket)
		return err
	})
	if err != nil {
		return journal{}, fmt.Errorf("route: prepare the journal: %w", err)
	}
	return journal{db}, nil
}

// append writes an entry, whose number it sets, and what it makes of its
// scope: an override, or nothing when the configuration holds again.
func (j journal) append(e *Entry, o *override) error {
	err := j.db.Update(func(tx *bbolt.Tx) error {
		entries := tx.Bucket(journalBucket)
		seq, err := entries.NextSequence()
		if err != nil {
			return err
		}
		e.Seq = seq
		if err := putJSON(entries, binary.BigEndian.AppendUint64(nil, seq), e); err != nil {
			return err
		}
		if e.Note != "" {
			return nil
		}
		key := append(append([]byte(e.App), 0), e.Channels...)
		if o == nil {
			return tx.Bucket(overridesBucket).Delete(key)
		}
		o.Seq = seq
		return putJSON(tx.Bucket(overridesBucket), key, o)
	})
	if err != nil {
		return fmt.Errorf("route: write the journal: %w", err)
	}
	return nil
}

func putJSON(b *bbolt.Bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, text)
}

// entries returns an app's entries, oldest first; of all apps for "".
func (j journal) entries(app string) ([]Entry, error) {
	var entries []Entry
	err := j.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(journalBucket).ForEach(func(_, text []byte) error {
			var e Entry
			if err := json.Unmarshal(text, &e); err != nil {
				return err
			}
			if app == "" || e.App == app {
				entries = append(entries, e)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("route: read the journal: %w", err)
	}
	return entries, nil
}

// overrides returns what holds, by app and in order of the moves.
func (j journal) overrides() (map[string][]override, error) {
	all := map[string][]override{}
	err := j.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(overridesBucket).ForEach(func(key, text []byte) error {
			var o override
			if err := json.Unmarshal(text, &o); err != nil {
				return err
			}
			app := appOfKey(key)
			all[app] = insert(all[app], o)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("route: read the moves that hold: %w", err)
	}
	return all, nil
}

func appOfKey(key []byte) string {
	for i, c := range key {
		if c == 0 {
			return string(key[:i])
		}
	}
	return string(key)
}

// insert returns a new list with o in its order in place of what was there
// for its scope.
func insert(list []override, o override) []override {
	list = without(list, o.Channels)
	i := len(list)
	for i > 0 && list[i-1].Seq > o.Seq {
		i--
	}
	return append(list[:i:i], append([]override{o}, list[i:]...)...)
}

// without returns a new list that has nothing for a scope.
func without(list []override, channels string) []override {
	rest := make([]override, 0, len(list))
	for _, o := range list {
		if o.Channels != channels {
			rest = append(rest, o)
		}
	}
	return rest
}
