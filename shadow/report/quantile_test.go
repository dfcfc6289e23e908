package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/offramp/offramp/shadow"
)

func TestRanksAgainstPublishedTables(t *testing.T) {
	// Wilks (1941): the largest of 59 is above the 95th percentile with 95 %
	// confidence, the largest of 299 above the 99th.
	for q, least := range map[float64]float64{0.95: 59, 0.99: 299} {
		if _, ok := upperRank(q, least-1); ok {
			t.Errorf("%g of %g: there is an upper bound, want none", q, least-1)
		}
		if rank, ok := upperRank(q, least); !ok || rank != 1 {
			t.Errorf("%g of %g: upper bound at %g, %v, want the largest", q, least, rank, ok)
		}
	}
	// Conover, Practical Nonparametric Statistics: ranks for the median of n,
	// each with 5 % to its side at most.
	for n, want := range map[float64][2]float64{5: {1, 5}, 10: {2, 9}, 20: {6, 15}, 50: {19, 32}, 100: {42, 59}} {
		low, _ := lowerRank(0.5, n)
		high, _ := upperRank(0.5, n)
		if got := [2]float64{math.Round(low * n), math.Round(high * n)}; got != want {
			t.Errorf("median of %g: ranks %v, want %v", n, got, want)
		}
	}
	if _, ok := upperRank(0.5, 4); ok {
		t.Error("four values bound their median from above; 1/16 is more than 5 %")
	}
}

// TestPercentileBoundsHoldAsOftenAsTheySay draws delays that are slow in some
// stretches, and asks how often the bounds enclose the percentile of what they
// were drawn from.
func TestPercentileBoundsHoldAsOftenAsTheySay(t *testing.T) {
	const runs, minutes, perMinute = 600, 120, 60
	// Exponential with a mean of 20 ms; in a slow minute 40 ms come on top.
	tests := map[string]struct {
		slow  float64 // share of minutes
		truth map[float64]float64
	}{
		"each on its own":   {0, map[float64]float64{0.5: 20 * math.Ln2, 0.99: 20 * math.Log(100)}},
		"in slow stretches": {0.1, map[float64]float64{0.5: 20 * math.Log(0.9/0.4), 0.99: 20 * math.Log(100*(0.9+0.1*math.Exp(2)))}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 8))
			sample := func() ([]float64, blocks) {
				var all []float64
				b := make(blocks)
				for m := range minutes {
					extra := 0.0
					if rng.Float64() < tc.slow {
						extra = 40
					}
					d := new(shadow.Delays)
					for range perMinute {
						v := extra + 20*rng.ExpFloat64()
						all = append(all, v)
						d.Paired[classForTest(v)]++
					}
					b[block{start: start.Add(time.Duration(m) * time.Minute), span: time.Minute}] = d
				}
				slices.Sort(all)
				return all, b
			}
			for q, want := range tc.truth {
				low, high := 0, 0
				for range runs {
					all, b := sample()
					bounds := b.bounds(pairedDelays, q, float64(len(all)), func(q float64) float64 {
						return all[min(len(all)-1, max(0, int(math.Ceil(q*float64(len(all))))-1))]
					})
					if bounds.Low == nil || *bounds.Low <= want {
						low++
					}
					if bounds.High == nil || *bounds.High >= want {
						high++
					}
				}
				if least := min(low, high); float64(least)/runs < confidence {
					t.Errorf("p%g: the lower 95 %% bound held in %d, the upper in %d of %d runs", 100*q, low, high, runs)
				}
			}
		})
	}
}

// classForTest puts milliseconds into the classes as the comparator does; the
// edges themselves are its own affair, any that are not too coarse do.
func classForTest(v float64) int { return min(20, int(v/5)) }
