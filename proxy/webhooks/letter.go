package webhooks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/offramp/offramp/proxy"
	"github.com/offramp/offramp/proxy/protocol"
)

// letter is one webhook event on its way to one receiver.
type letter struct {
	At      time.Time // acceptance, in milliseconds
	Type    proxy.WebhookType
	Channel protocol.ChannelName
	Event   []byte // the object as it stands in a request's "events"
}

// deadLetter is a letter that was given up.
type deadLetter struct {
	letter
	Died     time.Time // in milliseconds
	Attempts int
	Reason   string
}

// attempted is a request that failed and will be tried again with the same
// body.
type attempted struct {
	TimeMS   int64         // the body's time_ms
	Spent    time.Duration // since its first try, while the gateway ran; in milliseconds
	Attempts int
	Seqs     []uint64 // its letters, in order
}

// Layout of outbox records: a version byte, then the fields in order.
// Numbers are uvarints, texts are preceded by their length, and the last
// field of a record takes the rest.
const recordVersion = 1

var errRecord = errors.New("webhooks: malformed outbox record")

// maxRecordText bounds a text inside a record, so that a damaged length
// cannot ask for more than a record may hold.
const maxRecordText = 1 << 20

func (l letter) encode() []byte {
	b := make([]byte, 0, len(l.Event)+len(l.Channel)+len(l.Type)+24)
	return l.append(append(b, recordVersion))
}

func (l letter) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(l.At.UnixMilli()))
	b = appendText(b, string(l.Type))
	b = appendText(b, string(l.Channel))
	return append(b, l.Event...)
}

func decodeLetter(raw []byte) (letter, error) {
	r := newRecordReader(raw)
	l := r.letter()
	return l, r.err
}

func (d deadLetter) encode() []byte {
	b := append(make([]byte, 0, len(d.Event)+len(d.Reason)+64), recordVersion)
	b = binary.AppendUvarint(b, uint64(d.Died.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(d.Attempts))
	b = appendText(b, d.Reason)
	return d.append(b)
}

func decodeDead(raw []byte) (deadLetter, error) {
	r := newRecordReader(raw)
	d := deadLetter{Died: r.time(), Attempts: int(r.number()), Reason: r.text()}
	d.letter = r.letter()
	return d, r.err
}

func (a attempted) encode() []byte {
	b := append(make([]byte, 0, 32+4*len(a.Seqs)), recordVersion)
	b = binary.AppendUvarint(b, uint64(a.TimeMS))
	b = binary.AppendUvarint(b, uint64(a.Spent.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(a.Attempts))
	for _, seq := range a.Seqs {
		b = binary.AppendUvarint(b, seq)
	}
	return b
}

func decodeAttempted(raw []byte) (attempted, error) {
	r := newRecordReader(raw)
	a := attempted{TimeMS: int64(r.number()), Spent: r.duration(), Attempts: int(r.number())}
	for r.err == nil && len(r.rest) > 0 {
		if len(a.Seqs) == batchSize {
			return a, fmt.Errorf("%w: more than %d letters in a request", errRecord, batchSize)
		}
		a.Seqs = append(a.Seqs, r.number())
	}
	if r.err == nil && len(a.Seqs) == 0 {
		r.fail("a request without letters")
	}
	return a, r.err
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// recordReader takes a record apart. After its first error every field reads
// as zero.
type recordReader struct {
	rest []byte
	err  error
}

func newRecordReader(raw []byte) *recordReader {
	if len(raw) == 0 || raw[0] != recordVersion {
		return &recordReader{err: fmt.Errorf("%w: unknown version", errRecord)}
	}
	return &recordReader{rest: raw[1:]}
}

func (r *recordReader) fail(what string) {
	r.err, r.rest = fmt.Errorf("%w: %s", errRecord, what), nil
}

func (r *recordReader) number() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > 1<<62 {
		r.fail("a number is cut off or too large")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *recordReader) time() time.Time { return time.UnixMilli(int64(r.number())) }

// duration reads milliseconds, fewer than a Duration overflows with.
func (r *recordReader) duration() time.Duration {
	ms := r.number()
	if ms > 1<<40 {
		r.fail("a duration is too long")
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

func (r *recordReader) text() string {
	n := r.number()
	if n > maxRecordText || n > uint64(len(r.rest)) {
		r.fail("a text is longer than its record")
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *recordReader) letter() letter {
	l := letter{At: r.time(), Type: proxy.WebhookType(r.text()), Channel: protocol.ChannelName(r.text())}
	l.Event, r.rest = append([]byte(nil), r.rest...), nil
	if r.err == nil && len(l.Event) == 0 {
		r.fail("a letter without an event")
	}
	return l
}
