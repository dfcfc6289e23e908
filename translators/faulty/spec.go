package faulty

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Spec says which faults to inject. The zero Spec injects none.
type Spec struct {
	Drop    float64       // share of deliveries that are swallowed
	Dup     float64       // share that is shown twice
	Reorder float64       // share that changes places with the next on its channel
	Corrupt float64       // share whose data is altered
	Delay   time.Duration // by which every delivery comes late
	Seed    uint64        // of the choice of deliveries; the same seed chooses alike
}

// IsZero reports whether the spec injects nothing.
func (s Spec) IsZero() bool {
	s.Seed = 0
	return s == Spec{}
}

const (
	maxDelay = 10 * time.Second
	example  = "drop=0.01,dup=0.005,reorder=0.005,corrupt=0.002,delay=200ms"
)

// Parse reads a spec such as "drop=0.01,dup=0.005,delay=200ms". The empty
// text is the zero Spec.
func Parse(text string) (Spec, error) {
	var s Spec
	if strings.TrimSpace(text) == "" {
		return s, nil
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found {
			return Spec{}, fmt.Errorf("fault %q: write name=value, as in %s", part, example)
		}
		if seen[key] {
			return Spec{}, fmt.Errorf("fault %q is given twice", key)
		}
		seen[key] = true
		if err := s.set(key, value); err != nil {
			return Spec{}, fmt.Errorf("fault %s=%s: %w", key, value, err)
		}
	}
	if sum := s.Drop + s.Dup + s.Reorder + s.Corrupt; sum > 1 {
		return Spec{}, fmt.Errorf("the shares of faults add up to %v: at most 1, as each delivery has one fault", sum)
	}
	return s, nil
}

func (s *Spec) set(key, value string) (err error) {
	switch key {
	case "drop":
		s.Drop, err = share(value)
	case "dup":
		s.Dup, err = share(value)
	case "reorder":
		s.Reorder, err = share(value)
	case "corrupt":
		s.Corrupt, err = share(value)
	case "delay":
		s.Delay, err = time.ParseDuration(value)
		if err != nil || s.Delay < 0 || s.Delay > maxDelay {
			err = fmt.Errorf("a duration between 0s and %s, such as 200ms", maxDelay)
		}
	case "seed":
		s.Seed, err = strconv.ParseUint(value, 10, 64)
		if err != nil {
			err = errors.New("a whole number, not negative")
		}
	default:
		err = errors.New("no such fault: use drop, dup, reorder, corrupt, delay or seed")
	}
	return err
}

func share(value string) (float64, error) {
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1 {
		return 0, errors.New("a share between 0 and 1, such as 0.01")
	}
	return f, nil
}

// String returns the spec as Parse reads it.
func (s Spec) String() string {
	var parts []string
	for _, f := range []struct {
		name  string
		share float64
	}{{"drop", s.Drop}, {"dup", s.Dup}, {"reorder", s.Reorder}, {"corrupt", s.Corrupt}} {
		if f.share > 0 {
			parts = append(parts, f.name+"="+strconv.FormatFloat(f.share, 'g', -1, 64))
		}
	}
	if s.Delay > 0 {
		parts = append(parts, "delay="+s.Delay.String())
	}
	if s.Seed != 0 {
		parts = append(parts, "seed="+strconv.FormatUint(s.Seed, 10))
	}
	return strings.Join(parts, ",")
}
