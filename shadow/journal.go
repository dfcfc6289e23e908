package shadow

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	bolt "go.etcd.io/bbolt"
)

var cellBucket = []byte("shadow/cells/v1")

// Journal keeps cells in an embedded database, so that evidence survives a
// restart. It owns one bucket and may share the database with others.
type Journal struct{ db *bolt.DB }

// NewJournal returns the journal in a database, creating its bucket.
func NewJournal(db *bolt.DB) (*Journal, error) {
	err := db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(cellBucket)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open shadow journal: %w", err)
	}
	return &Journal{db: db}, nil
}

// storedCell is a cell as written.
type storedCell struct {
	Counts  Counts
	Latency [4][]byte // reference, candidate, slower, faster; encoded histograms, nil where empty
}

// changes are what the journal has to write.
type changes struct {
	put  map[cellKey]*storedCell
	gone []cellKey
}

// saveEvery is how often changed cells are written.
const saveEvery = 10 * time.Second

// takeDirty returns the cells changed since the last call, encoded, if it is
// time to write them or this is the final call.
func (l *ledger) takeDirty(now time.Time, final bool) (changes, error) {
	if !final && now.Sub(l.saved) < saveEvery {
		return changes{}, nil
	}
	l.saved = now
	out := changes{gone: l.roll(now), put: make(map[cellKey]*storedCell)}
	for k, e := range l.cells {
		if !e.dirty {
			continue
		}
		stored, err := encodeCell(e)
		if err != nil {
			return changes{}, err
		}
		out.put[k] = stored
		e.dirty = false
	}
	return out, nil
}

func encodeCell(e *entry) (*storedCell, error) {
	out := &storedCell{Counts: e.counts.clone()}
	if e.latency == nil {
		return out, nil
	}
	for i, h := range e.latency.parts() {
		if *h == nil {
			continue
		}
		raw, err := (*h).Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, fmt.Errorf("encode latencies: %w", err)
		}
		out.Latency[i] = raw
	}
	return out, nil
}

func decodeCell(s *storedCell) (*entry, error) {
	e := &entry{counts: s.Counts}
	for i, raw := range s.Latency {
		if raw == nil {
			continue
		}
		h, err := hdrhistogram.Decode(raw)
		if err != nil {
			return nil, fmt.Errorf("decode latencies: %w", err)
		}
		if e.latency == nil {
			e.latency = new(Latency)
		}
		merge(e.latency.parts()[i], h)
	}
	return e, nil
}

func (j *Journal) store(c changes) error {
	if len(c.put)+len(c.gone) == 0 {
		return nil
	}
	return j.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(cellBucket)
		for _, k := range c.gone {
			key, err := encode(k)
			if err != nil {
				return err
			}
			if err := b.Delete(key); err != nil {
				return fmt.Errorf("delete cell: %w", err)
			}
		}
		for k, cell := range c.put {
			key, err := encode(k)
			if err != nil {
				return err
			}
			value, err := encode(cell)
			if err != nil {
				return err
			}
			if err := b.Put(key, value); err != nil {
				return fmt.Errorf("put cell: %w", err)
			}
		}
		return nil
	})
}

// load reads all cells into a ledger.
func (j *Journal) load(into *ledger) error {
	return j.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(cellBucket).ForEach(func(key, value []byte) error {
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
			into.cells[k] = e
			return nil
		})
	})
}

func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return buf.Bytes(), nil
}

func decode(raw []byte, into any) error {
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(into); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return nil
}
