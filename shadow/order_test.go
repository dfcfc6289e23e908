package shadow

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestOutOfPlace(t *testing.T) {
	tests := map[string]struct {
		seq  []int
		want int
	}{
		"nothing":                  {nil, 0},
		"in order":                 {[]int{1, 2, 3, 9}, 0},
		"two neighbours swapped":   {[]int{1, 3, 2, 4}, 1},
		"two swaps":                {[]int{2, 1, 3, 5, 4}, 2},
		"one moved far to the end": {[]int{2, 3, 4, 5, 1}, 1},
		"one moved to the front":   {[]int{5, 1, 2, 3, 4}, 1},
		"backwards":                {[]int{5, 4, 3, 2, 1}, 4},
	}
	for name, tc := range tests {
		if got := outOfPlace(tc.seq); len(got) != tc.want {
			t.Errorf("%s: outOfPlace(%v) = %v, want %d of them", name, tc.seq, got, tc.want)
		}
	}
}

// TestOutOfPlaceIsTheFewest compares with trying every subset.
func TestOutOfPlaceIsTheFewest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		seq := rng.Perm(8)
		longest := 0
		for set := range 1 << len(seq) {
			var kept []int
			for i, v := range seq {
				if set&(1<<i) != 0 {
					kept = append(kept, v)
				}
			}
			if slices.IsSorted(kept) {
				longest = max(longest, len(kept))
			}
		}
		if got := outOfPlace(seq); len(got) != len(seq)-longest {
			t.Errorf("outOfPlace(%v) = %v, want %d of them", seq, got, len(seq)-longest)
		}
	}
}

func TestMisplaced(t *testing.T) {
	tests := map[string]struct {
		judged []int
		orders [][]int
		want   int
	}{
		"as published": {judged: []int{0, 1, 2}, want: 0},
		"swapped, and no other order says so": {
			judged: []int{1, 0, 2}, orders: [][]int{{0, 1, 2}}, want: 1,
		},
		"as the other leg, against publishing": {
			judged: []int{1, 0, 2}, orders: [][]int{{1, 0, 2}}, want: 0,
		},
		"as the last of three orders": {
			judged: []int{1, 0, 2}, orders: [][]int{{0, 1, 2}, {1, 0, 2}}, want: 0,
		},
		"a race in one place does not excuse a swap in another": {
			judged: []int{1, 0, 2, 4, 3}, orders: [][]int{{1, 0, 2, 3, 4}}, want: 1,
		},
		"each race follows another order": {
			judged: []int{1, 0, 2, 4, 3}, orders: [][]int{{1, 0, 2, 3, 4}, {0, 1, 2, 4, 3}}, want: 0,
		},
		"what the leg did not show has no place": {
			judged: []int{1, -1, 0, 2}, orders: [][]int{{0, 1, 2, 3}}, want: 1,
		},
		"what the other leg did not show does not matter": {
			judged: []int{0, 1, 2, 3}, orders: [][]int{{-1, 0, -1, 1}}, want: 0,
		},
	}
	for name, tc := range tests {
		if got, _ := misplaced(tc.judged, tc.orders...); len(got) != tc.want {
			t.Errorf("%s: misplaced = %v, want %d of them", name, got, tc.want)
		}
	}
}
