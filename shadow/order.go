package shadow

import (
	"slices"
	"sort"
)

// outOfPlace returns the positions in seq of the fewest values whose removal
// leaves the rest increasing, that is all but a longest increasing
// subsequence, in order. One swap of neighbours is one value out of place.
func outOfPlace(seq []int) []int {
	if slices.IsSorted(seq) {
		return nil
	}
	tails := make([]int, 0, len(seq)) // tails[k]: position of the least end of a run of k+1
	before := make([]int, len(seq))   // position of the value before, in its run
	for i, v := range seq {
		k := sort.Search(len(tails), func(k int) bool { return seq[tails[k]] >= v })
		before[i] = -1
		if k > 0 {
			before[i] = tails[k-1]
		}
		if k == len(tails) {
			tails = append(tails, i)
		} else {
			tails[k] = i
		}
	}
	keep := make([]bool, len(seq))
	for i := tails[len(tails)-1]; i >= 0; i = before[i] {
		keep[i] = true
	}
	out := make([]int, 0, len(seq)-len(tails))
	for i := range seq {
		if !keep[i] {
			out = append(out, i)
		}
	}
	return out
}

// misplaced returns the indices of the events that a leg delivered out of
// order, and the farthest that one of them was from its place. judged and each
// of the orders hold the events' places by index, which is the order in which
// they were published here; a negative place means that the event is not in
// that order.
//
// Publishes that race may be recorded here in one order, and be handed to a
// backend or delivered by the reference in another. So a leg is at fault only
// where it agrees with none of the orders it is compared with. The sequence is cut where all orders
// agree that everything before comes before everything after, and each piece
// is judged by the order that is kindest to the leg.
func misplaced(judged []int, orders ...[]int) (indices []int, displacement int) {
	seen := make([]int, 0, len(judged)) // indices that the judged leg showed
	seq := make([]int, 0, len(judged))
	for i, place := range judged {
		if place >= 0 {
			seen, seq = append(seen, i), append(seq, place)
		}
	}
	if slices.IsSorted(seq) {
		return nil, 0
	}
	seq = ranks(seq)
	others := make([][]int, len(orders))
	for k, order := range orders {
		others[k] = make([]int, len(seen))
		for j, i := range seen {
			others[k][j] = order[i]
		}
		others[k] = ranksPresent(others[k])
	}
	for start := 0; start < len(seen); {
		end := pieceEnd(start, seq, others)
		for _, j := range judge(start, end, seq, others) {
			indices = append(indices, seen[j])
			displacement = max(displacement, distance(seq[j], j))
		}
		start = end
	}
	return indices, displacement
}

// pieceEnd returns the end of the shortest piece from start on that every
// order maps onto itself.
func pieceEnd(start int, judged []int, others [][]int) int {
	top := start
	for i := start; i <= top && i < len(judged); i++ {
		top = max(top, judged[i])
		for _, order := range others {
			top = max(top, order[i])
		}
	}
	return top + 1
}

// judge returns the positions in a piece that are out of place by the order
// that finds fewest.
func judge(start, end int, judged []int, others [][]int) []int {
	best := outOfPlace(judged[start:end])
	for j := range best {
		best[j] += start
	}
	for _, order := range others {
		if len(best) == 0 {
			break
		}
		in := make([]int, end-start) // positions in that order
		for i := start; i < end; i++ {
			in[order[i]-start] = i
		}
		seq := make([]int, len(in))
		for k, i := range in {
			seq[k] = judged[i]
		}
		if found := outOfPlace(seq); len(found) < len(best) {
			for j, k := range found {
				found[j] = in[k]
			}
			best = found
		}
	}
	return best
}

// ranks replaces each value by its position among all of them.
func ranks(seq []int) []int {
	order := make([]int, len(seq))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return seq[a] - seq[b] })
	out := make([]int, len(seq))
	for rank, i := range order {
		out[i] = rank
	}
	return out
}

// ranksPresent is ranks for a sequence with -1 for what is absent. What is
// absent keeps its own position; the others share out the rest in order.
func ranksPresent(seq []int) []int {
	out := make([]int, len(seq))
	var present []int // positions
	for i, v := range seq {
		out[i] = i
		if v >= 0 {
			present = append(present, i)
		}
	}
	values := make([]int, len(present))
	for k, i := range present {
		values[k] = seq[i]
	}
	for k, rank := range ranks(values) {
		out[present[k]] = present[rank]
	}
	return out
}

func distance(a, b int) int { return max(a-b, b-a) }
