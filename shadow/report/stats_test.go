package report

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/offramp/offramp/shadow"
)

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance*math.Abs(want) }

func TestUpperBoundAgainstPublishedValues(t *testing.T) {
	tests := map[string]struct{ x, n, want, tolerance float64 }{
		"no loss in 29 958 is 1e-4":           {0, 29_958, 1e-4, 1e-4},
		"no loss in 299 574 is 1e-5":          {0, 299_574, 1e-5, 1e-4},
		"no loss in 2 995 733 is 1e-6":        {0, 2_995_733, 1e-6, 1e-4},
		"rule of three":                       {0, 100, 0.0295, 0.01},
		"3 in 100 000 is 7.8e-5":              {3, 100_000, 7.8e-5, 0.01},
		"10 in 100 000 is 1.7e-4":             {10, 100_000, 1.7e-4, 0.01},
		"Clopper and Pearson, 3 of 10":        {3, 10, 0.6066, 1e-3},
		"nothing seen is anything":            {0, 0, 1, 0},
		"all lost":                            {5, 5, 1, 0},
		"Wilson, 81 of 263 (Newcombe 1998)":   {81, 263, 0.3567, 2e-3}, // one-sided 95 % is the upper end of the two-sided 90 %
		"Wilson, 50 of 100, symmetric around": {50, 100, 0.5811, 2e-3},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := upperBound(tc.x, tc.n); !near(got, tc.want, tc.tolerance) {
				t.Errorf("upperBound(%g, %g) = %g, want %g", tc.x, tc.n, got, tc.want)
			}
		})
	}
}

// wilsonAtZero shows why the exact bound is used for few losses.
func TestWilsonIsTooOptimisticAtZero(t *testing.T) {
	wilson, exact := wilsonUpper(0, 1_000_000, z95), upperBound(0, 1_000_000)
	if !near(wilson, 2.7e-6, 0.01) || !near(exact, 3.0e-6, 0.01) {
		t.Errorf("zero in a million: Wilson %g, exact %g, want 2.7e-6 and 3.0e-6", wilson, exact)
	}
}

func TestBoundsMirrorEachOther(t *testing.T) {
	for _, tc := range [][2]float64{{0, 50}, {1, 50}, {10, 400}, {11, 400}, {200, 400}} {
		if lower, upper := lowerBound(tc[0], tc[1]), upperBound(tc[0], tc[1]); lower > tc[0]/tc[1] || upper < tc[0]/tc[1] {
			t.Errorf("%g of %g: bounds %g and %g do not enclose it", tc[0], tc[1], lower, upper)
		}
	}
}

func TestNeeded(t *testing.T) {
	tests := map[string]struct{ limit, rate, want float64 }{
		"no losses so far":         {1e-4, 0, 29_956},
		"no losses, looser gate":   {1e-2, 0, 299},
		"losses at half the limit": {1e-2, 5e-3, 1000},
		"losses at the limit":      {1e-2, 1e-2, math.Inf(1)},
	}
	for name, tc := range tests {
		got := needed(tc.limit, tc.rate)
		switch {
		case math.IsInf(tc.want, 1):
			if !math.IsInf(got, 1) {
				t.Errorf("%s: needed = %g, want infinity", name, got)
			}
		case !near(got, tc.want, 0.5) || upperBound(tc.rate*got, got) > tc.limit || upperBound(tc.rate*got*0.9, got*0.9) < tc.limit:
			t.Errorf("%s: needed(%g, %g) = %g, which is not the number at which the bound meets the limit", name, tc.limit, tc.rate, got)
		}
	}
}

// lossSimulation draws cells whose losses come singly or in clusters.
func simulateLosses(rng *rand.Rand, clusters, size int, rate, together float64) (n, x int64, sums shadow.Clusters) {
	for range clusters {
		lost := 0
		if rng.Float64() < together {
			if rng.Float64() < rate {
				lost = size // the whole cluster
			}
		} else {
			for range size {
				if rng.Float64() < rate {
					lost++
				}
			}
		}
		n += int64(size)
		x += int64(lost)
		s, l := float64(size), float64(lost)
		sums.Add(shadow.Clusters{Number: 1, N2: s * s, X2: l * l, NX: s * l, X4: l * l * l * l})
	}
	return n, x, sums
}

func TestBoundsHoldAsOftenAsTheySay(t *testing.T) {
	const runs = 2000
	tests := map[string]struct {
		clusters, size int
		rate, together float64
	}{
		"rare, one by one":       {100, 100, 3e-4, 0},
		"a few in a thousand":    {100, 100, 3e-3, 0},
		"common":                 {100, 100, 5e-2, 0},
		"in clusters, common":    {400, 20, 5e-2, 1},
		"half of it in clusters": {400, 20, 5e-2, 0.5},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(42, 1))
			held := 0
			for range runs {
				n, x, sums := simulateLosses(rng, tc.clusters, tc.size, tc.rate, tc.together)
				deff := designEffect(n, x, sums)
				if upperBound(float64(x)/deff, float64(n)/deff) >= tc.rate {
					held++
				}
			}
			// A standard error of a share of 0.95 in 1 000 runs is 0.007.
			if share := float64(held) / runs; share < confidence {
				t.Errorf("the 95 %% bound held in %.1f %% of %d runs", 100*share, runs)
			}
		})
	}
}

func TestDesignEffect(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	n, x, alone := simulateLosses(rng, 2000, 20, 0.05, 0)
	if got := designEffect(n, x, alone); got > 1.15 {
		t.Errorf("losses one by one: design effect %.2f, want about 1", got)
	}
	n, x, together := simulateLosses(rng, 2000, 20, 0.05, 1)
	if got := designEffect(n, x, together); !near(got, 20, 0.15) {
		t.Errorf("losses by whole clusters of 20: design effect %.2f, want about 20", got)
	}
}

func TestDifferenceIsForgivenWhatTheReferenceLosesToo(t *testing.T) {
	const n = 1e6
	if got := differenceUpper(measured{100, n, 100, n}); got > 5e-5 {
		t.Errorf("both lose 100 in a million: bound of the difference %g, want well below their rate of 1e-4", got)
	}
	if got := differenceUpper(measured{500, n, 100, n}); got < 4e-4 {
		t.Errorf("the candidate loses 400 more in a million: bound %g, want above 4e-4", got)
	}
}

func TestNoiseCountsAsSurelyAsItIsKnown(t *testing.T) {
	// Newcombe (1998), method 10, case a: 56 of 70 against 48 of 80, of which
	// the two-sided 95 % interval begins at 0.0524.
	if low := differenceLower(measured{56, 70, 48, 80}, 0.975); !near(low, 0.0524, 2e-3) {
		t.Errorf("lower bound of the difference %.4f, want 0.0524", low)
	}
	// The candidate reorders 60 in 100 000, the reference's sockets 1 of 2 000.
	few := measured{60, 100_000, 1, 2000}
	if few.above(1e-4, 0.05) {
		t.Error("noise known from 2 000 events is taken for certain: the candidate is blamed for what may be the reference's")
	}
	if many := (measured{60, 100_000, 1, 200_000}); !many.above(1e-4, 0.05) {
		t.Error("with noise known to be low the candidate must be blamed")
	}
}
