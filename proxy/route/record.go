package route

import (
	"encoding/json"
	"fmt"

	"github.com/offramp/offramp/proxy"
)

// Bounds of what nodes share of one app. Of older moves only what they left is
// known.
const (
	maxRecords     = 1000
	maxRecordBytes = 256 << 10
)

// record is a move as nodes share it: with all that lies over the app's
// configuration from then on, so that the last record says where the app is.
type record struct {
	Entry
	Holds []override `json:"holds,omitempty"` // oldest move first

	text []byte // as it is stored; two records are the same if their texts are
}

// newRecord returns the record of a move and of what then holds.
func newRecord(e Entry, holds []override) (record, error) {
	text, err := json.Marshal(record{Entry: e, Holds: holds})
	if err != nil {
		return record{}, fmt.Errorf("route: write a record: %w", err)
	}
	if len(text) > maxRecordBytes {
		return record{}, fmt.Errorf("%w: its record has %d bytes, %d are allowed: shorten the reason, or name fewer channel patterns", ErrInvalid, len(text), maxRecordBytes)
	}
	r := record{Entry: e, Holds: holds, text: text}
	if err := r.check(e.App); err != nil {
		return record{}, fmt.Errorf("%w: other nodes would not take it: %w", ErrInvalid, err)
	}
	return r, nil
}

// readRecords reads an app's records, oldest first. Who can write to the
// store of the nodes can write anything there, so nothing is taken on trust.
func readRecords(app string, texts [][]byte) ([]record, error) {
	if len(texts) > maxRecords {
		return nil, fmt.Errorf("route: %d records of app %s, more than %d", len(texts), app, maxRecords)
	}
	records := make([]record, len(texts))
	for i, text := range texts {
		r := &records[i]
		if len(text) > maxRecordBytes {
			return nil, fmt.Errorf("route: a record of app %s has %d bytes, more than %d", app, len(text), maxRecordBytes)
		}
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("route: read a record of app %s: %w", app, err)
		}
		if err := r.check(app); err != nil {
			return nil, fmt.Errorf("route: record %d of app %s: %w", r.Seq, app, err)
		}
		if i > 0 && r.Seq != records[i-1].Seq+1 {
			return nil, fmt.Errorf("route: record %d of app %s comes after record %d", r.Seq, app, records[i-1].Seq)
		}
		r.text = text
	}
	return records, nil
}

func (r *record) check(app string) error {
	switch {
	case r.App != app:
		return fmt.Errorf("it is of app %q", r.App)
	case r.Seq == 0:
		return fmt.Errorf("it has no number")
	case r.Who == "" || r.Note != "":
		return fmt.Errorf("it is no move of anybody's")
	case r.Undoes >= r.Seq:
		return fmt.Errorf("it takes back what comes later")
	case !validPattern(r.Channels):
		return fmt.Errorf("channels %q are no pattern", r.Channels)
	case !r.From.valid() || !r.To.valid():
		return fmt.Errorf("it moves from or to something that is no stage")
	}
	for _, o := range r.Holds {
		if o.Seq > r.Seq || !validPattern(o.Channels) || !o.State.valid() || o.Configured != nil && !o.Configured.valid() {
			return fmt.Errorf("what holds for channels %q cannot be", o.Channels)
		}
	}
	return nil
}

// valid reports whether a state can be.
func (s State) valid() bool {
	switch {
	case s.Stage < proxy.StageObserve || s.Stage > proxy.StageExited:
		return false
	case s.Stage != proxy.StageCanary:
		return s.Percent == 0 && s.By == ""
	}
	return s.Percent >= 0 && s.Percent <= 100 && (s.By == "" || s.By == proxy.ByChannel || s.By == proxy.ByUser)
}

// lastOf returns the last record of some; the zero record if there is none.
func lastOf(records []record) record {
	if len(records) == 0 {
		return record{}
	}
	return records[len(records)-1]
}

func textsOf(records []record) [][]byte {
	texts := make([][]byte, len(records))
	for i, r := range records {
		texts[i] = r.text
	}
	return texts
}

// recordsOf makes records of an app's moves from before its node had others:
// they are numbered from 1, and only the last says what holds.
func recordsOf(entries []Entry, holds []override) ([]record, error) {
	moves := make([]Entry, 0, len(entries))
	number := make(map[uint64]uint64, len(entries))
	for _, e := range entries {
		if e.Note != "" {
			continue
		}
		number[e.Seq] = uint64(len(moves) + 1)
		e.Seq, e.Undoes = number[e.Seq], number[e.Undoes]
		moves = append(moves, e)
	}
	moves = moves[max(len(moves)-maxRecords, 0):]
	records := make([]record, len(moves))
	for i, e := range moves {
		var then []override
		if i == len(moves)-1 {
			for _, o := range holds {
				o.Seq = number[o.Seq]
				then = append(then, o)
			}
		}
		r, err := newRecord(e, then)
		if err != nil { // what force overcame had no limit
			e.Overridden = nil
			r, err = newRecord(e, then)
		}
		if err != nil {
			return nil, err
		}
		records[i] = r
	}
	return records, nil
}
