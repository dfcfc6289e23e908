package translators

import (
	"fmt"
	"time"
)

// Result is a backend's answer for one Envelope.
type Result struct {
	Code Code
	// NativeID is the backend's own id of the stored message, if it has one.
	NativeID string
	Detail   string // why it was refused, for a person
	// RetryAfter is what a throttling backend asked for; zero: it did not say.
	RetryAfter time.Duration
}

// Code classifies a Result.
type Code uint8

// The codes. A translator returns the most specific one: reports show
// "throttled" apart from "lost", and "too large" apart from both.
const (
	// CodeOK: the backend acknowledged it. A write to a socket is not that.
	CodeOK Code = iota + 1
	// CodeDuplicate: the backend already has an item of this mirror id.
	CodeDuplicate
	// CodeRejectedSize: too large for the backend.
	CodeRejectedSize
	// CodeRejectedName: the channel or event name cannot be expressed.
	CodeRejectedName
	// CodeRejectedAuth: the backend refused the credentials or their rights.
	CodeRejectedAuth
	// CodeThrottled: over a rate limit, the backend's or a tighter own one.
	CodeThrottled
	// CodeUnsupported: the backend has nothing that this could become.
	CodeUnsupported
	// CodeTransient: failed for now. It is tried again, in its lane, before
	// anything after it, until its deadline.
	CodeTransient
	// CodeExpired: its deadline passed first.
	CodeExpired
	// CodeFatal: the session is of no further use and must be opened anew.
	CodeFatal

	codes
)

var codeNames = [...]string{
	"", "OK", "DUPLICATE", "REJECTED_SIZE", "REJECTED_NAME", "REJECTED_AUTH", "THROTTLED", "UNSUPPORTED",
	"TRANSIENT", "EXPIRED", "FATAL",
}

// String returns the code's name in results, records and reports.
func (c Code) String() string {
	if c == 0 || c >= codes {
		return fmt.Sprintf("CODE_%d", uint8(c))
	}
	return codeNames[c]
}

// Codes returns every code, in order.
func Codes() []Code {
	all := make([]Code, 0, codes-1)
	for c := CodeOK; c < codes; c++ {
		all = append(all, c)
	}
	return all
}

// Accepted reports whether the backend has the item.
func (c Code) Accepted() bool { return c == CodeOK || c == CodeDuplicate }

// OK returns the result of an acknowledged item.
func OK() Result { return Result{Code: CodeOK} }

// Refuse returns a result with a code and its cause.
func Refuse(c Code, cause error) Result { return Result{Code: c, Detail: cause.Error()} }

// RefuseAll returns the same refusal for each of n items.
func RefuseAll(n int, c Code, cause error) []Result {
	all := make([]Result, n)
	for i := range all {
		all[i] = Refuse(c, cause)
	}
	return all
}
