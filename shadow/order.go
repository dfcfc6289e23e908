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

// placed is where one event came in three orders: published (its index in the
// slice), on the leg under judgement, and on the other leg. An order of -1
// means that the leg did not show it.
type placed struct{ judged, other int }

// misplaced returns the indices of the events that the judged leg delivered
// out of order. Two publishes that race may be recorded in one order and
// delivered in the other, so a leg is at fault only where it agrees neither
// with the order of publishing nor with the other leg's. The sequence is cut
// where all orders agree that everything before comes before everything
// after, and each piece is judged by whichever order is kinder to the leg.
func misplaced(events []placed) (indices []int, displacement int) {
	seen := make([]int, 0, len(events)) // indices that the judged leg showed
	seq := make([]int, 0, len(events))
	for i, e := range events {
		if e.judged >= 0 {
			seen = append(seen, i)
			seq = append(seq, e.judged)
		}
	}
	if slices.IsSorted(seq) {
		return nil, 0
	}
	judged := ranks(seq)
	otherSeq := make([]int, len(seen))
	for j, i := range seen {
		otherSeq[j] = events[i].other
	}
	others := ranksPresent(otherSeq)
	for start := 0; start < len(seen); {
		end := blockEnd(judged, others, start)
		for _, j := range judge(judged[start:end], others[start:end]) {
			indices = append(indices, seen[start+j])
			displacement = max(displacement, distance(judged[start+j], start+j))
		}
		start = end
	}
	return indices, displacement
}

// blockEnd returns the end of the shortest piece from start on that every
// order maps onto itself.
func blockEnd(judged, others []int, start int) int {
	top := start
	for i := start; i <= top && i < len(judged); i++ {
		top = max(top, judged[i], others[i])
	}
	return top + 1
}

// judge returns the positions of a piece that are out of place, by publishing
// order or by the other leg's, whichever finds fewer.
func judge(judged, others []int) []int {
	byPublish := outOfPlace(judged)
	if len(byPublish) == 0 {
		return nil
	}
	order := make([]int, len(judged))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return others[a] - others[b] })
	seq := make([]int, len(order))
	for i, j := range order {
		seq[i] = judged[j]
	}
	byOther := outOfPlace(seq)
	if len(byOther) >= len(byPublish) {
		return byPublish
	}
	for i, j := range byOther {
		byOther[i] = order[j]
	}
	return byOther
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
