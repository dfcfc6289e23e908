package shadow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The journal's buckets: cells by their key, and what else is known of apps
// by their id.
var (
	cellBucket = []byte("shadow/cells/v1")
	appBucket  = []byte("shadow/apps/v1")
)

// digestKey is where the key of digests is kept, in the app bucket: no app id
// begins so.
var digestKey = []byte("\x00digest key")

// Journal keeps evidence in an embedded database, so that it survives a
// restart. It owns two buckets and may share the database with others.
type Journal struct{ db *bolt.DB }

// NewJournal returns the journal in a database, creating its buckets.
func NewJournal(db *bolt.DB) (*Journal, error) {
	err := db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{cellBucket, appBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if apps := tx.Bucket(appBucket); apps.Get(digestKey) == nil {
			return apps.Put(digestKey, newDigester().key)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open shadow journal: %w", err)
	}
	return &Journal{db: db}, nil
}

// storedCell is a cell as written.
type storedCell struct {
	Counts  Counts
	Latency packed
}

// storedApp is what is written of an app beside its cells.
type storedApp struct {
	Overflow, Gaps int64
	Exhibits       []Exhibit
}

// changes are what the journal has to write.
type changes struct {
	cells map[cellKey]storedCell
	gone  []cellKey
	apps  map[string]storedApp
}

// saveEvery is how often changed cells are written.
const saveEvery = 10 * time.Second

// changes returns what changed since the last call, encoded, if it is time to
// write it or this is the final call.
func (s *state) changes(now time.Time, final bool) (changes, error) {
	if !final && now.Sub(s.saved) < saveEvery {
		return changes{}, nil
	}
	s.saved = now
	gone, err := s.ledger.roll(now)
	if err != nil {
		return changes{}, err
	}
	out := changes{gone: gone, cells: make(map[cellKey]storedCell), apps: make(map[string]storedApp)}
	for k, e := range s.ledger.cells {
		if !e.dirty {
			continue
		}
		stored, err := encodeCell(e)
		if err != nil {
			return changes{}, err
		}
		out.cells[k] = stored
		e.dirty = false
	}
	if len(out.cells) == 0 && !final {
		return out, nil
	}
	for id, a := range s.apps {
		a.exhibits.forget(now.Add(-s.config.Keep))
		out.apps[id] = storedApp{Overflow: a.overflow, Gaps: a.gapCount, Exhibits: a.exhibits.list()}
	}
	return out, nil
}

func encodeCell(e *entry) (s storedCell, err error) {
	s = storedCell{Counts: e.counts.clone(), Latency: e.packed}
	if e.latency != nil {
		s.Latency, err = e.latency.encode()
	}
	return s, err
}

func decodeCell(s *storedCell) (*entry, error) {
	latency, err := s.Latency.decode()
	if err != nil {
		return nil, err
	}
	return &entry{counts: s.Counts, latency: latency}, nil
}

func (j *Journal) store(c changes) error {
	if len(c.cells)+len(c.gone)+len(c.apps) == 0 {
		return nil
	}
	return j.db.Update(func(tx *bolt.Tx) error {
		cells := tx.Bucket(cellBucket)
		for _, k := range c.gone {
			key, err := json.Marshal(k)
			if err != nil {
				return fmt.Errorf("encode cell's key: %w", err)
			}
			if err := cells.Delete(key); err != nil {
				return fmt.Errorf("delete cell: %w", err)
			}
		}
		for k, cell := range c.cells {
			key, err := json.Marshal(k)
			if err != nil {
				return fmt.Errorf("encode cell's key: %w", err)
			}
			if err := put(cells, key, cell); err != nil {
				return err
			}
		}
		for id, app := range c.apps {
			if err := put(tx.Bucket(appBucket), []byte(id), app); err != nil {
				return err
			}
		}
		return nil
	})
}

func put(b *bolt.Bucket, key []byte, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode evidence: %w", err)
	}
	if err := b.Put(key, value); err != nil {
		return fmt.Errorf("put evidence: %w", err)
	}
	return nil
}

// load reads everything into a state.
func (j *Journal) load(into *state) error {
	return j.db.View(func(tx *bolt.Tx) error {
		err := tx.Bucket(cellBucket).ForEach(func(key, value []byte) error {
			var k cellKey
			var s storedCell
			if err := decode(key, &k); err != nil {
				return err
			}
			if err := decode(value, &s); err != nil {
				return err
			}
			e, err := decodeCell(&s)
			if err != nil {
				return err
			}
			into.ledger.cells[k] = e
			if time.Since(time.Unix(k.Start+k.Span, 0)) > packAfter {
				return e.pack() // a month of histograms at once would not fit
			}
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(appBucket).ForEach(func(key, value []byte) error {
			if bytes.Equal(key, digestKey) {
				into.digests.key = bytes.Clone(value)
				return nil
			}
			var s storedApp
			if err := decode(value, &s); err != nil {
				return err
			}
			a := into.addApp(string(key))
			a.overflow, a.gapCount, a.exhibits.kept = s.Overflow, s.Gaps, s.Exhibits
			return nil
		})
	})
}

func decode(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode evidence: %w", err)
	}
	return nil
}
