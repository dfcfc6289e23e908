package report

import "time"

// Gates are the thresholds of the verdict. The zero value of a field means
// its default, which the comment names; a negative value means zero.
type Gates struct {
	Loss            float64       `json:"loss"`             // 95 % upper bound of candidate's loss minus reference's: 1e-4
	Duplicate       float64       `json:"duplicate"`        // share of events repeated, beyond the reference's own: 1e-4
	Reorder         float64       `json:"reorder"`          // share of events out of order, beyond the reference's own: 1e-4
	Extra           float64       `json:"extra"`            // share of events that only the candidate delivers: 1e-4
	Rejected        float64       `json:"rejected"`         // share of events that the candidate refuses: 1e-4
	PayloadDiffers  int64         `json:"payload_differs"`  // events whose payload differs as JSON: 0
	PairedP99       time.Duration `json:"paired_p99"`       // candidate later than reference, nanoseconds in JSON: 50 ms
	Decisions       int64         `json:"decisions"`        // questions that the legs decide differently: 0
	Webhooks        float64       `json:"webhooks"`         // share of webhooks that one side only told: 0.01; 1 asks for nothing
	Structures      int64         `json:"structures"`       // kinds of frame, each for one client library, built differently: 0
	PresenceMean    float64       `json:"presence_mean"`    // mean presence divergence: 0.005
	PresenceLongest time.Duration `json:"presence_longest"` // longest episode, nanoseconds in JSON: 10 s
	PublishPath     float64       `json:"publish_path"`     // share of publishes that pass the gateway: 0.99
	Clients         float64       `json:"clients"`          // share of clients that do, where measured: 0.95
	Shed            float64       `json:"shed"`             // share of records the comparator dropped: 1e-4
	Unknown         float64       `json:"unknown"`          // share of events that could not be compared: 0.01
	Observe         time.Duration `json:"observe"`          // time the evidence must span, nanoseconds in JSON: 7 days
	// Checkpoint is how often it is asked whether the bound on loss holds, and
	// Hold how many times in a row it must: 24 h, 2. Evidence that is only to
	// span less than that is not asked.
	Checkpoint time.Duration `json:"checkpoint"`
	Hold       int64         `json:"hold"`
}

// DefaultGates returns the gates of a migration in earnest.
func DefaultGates() Gates { return Gates{}.withDefaults() }

func (g Gates) withDefaults() Gates {
	setDefault(&g.Loss, 1e-4)
	setDefault(&g.Duplicate, 1e-4)
	setDefault(&g.Reorder, 1e-4)
	setDefault(&g.Extra, 1e-4)
	setDefault(&g.Rejected, 1e-4)
	setDefault(&g.PayloadDiffers, 0)
	setDefault(&g.PairedP99, 50*time.Millisecond)
	setDefault(&g.Webhooks, 0.01)
	setDefault(&g.Structures, 0)
	setDefault(&g.PresenceMean, 0.005)
	setDefault(&g.PresenceLongest, 10*time.Second)
	setDefault(&g.PublishPath, 0.99)
	setDefault(&g.Clients, 0.95)
	setDefault(&g.Shed, 1e-4)
	setDefault(&g.Unknown, 0.01)
	setDefault(&g.Observe, 7*24*time.Hour)
	setDefault(&g.Checkpoint, 24*time.Hour)
	setDefault(&g.Hold, 2)
	return g
}

func setDefault[T float64 | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// limit reads a threshold: a negative one means zero.
func limit(v float64) float64 { return max(0, v) }
