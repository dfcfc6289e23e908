package main

import "testing"

func TestReleaserIsDue(t *testing.T) {
	const mib = 1 << 20
	settled := heap{allocated: 100 * mib, objects: 20 * mib, live: 20 * mib}
	for name, tc := range map[string]struct {
		heap        heap
		connections []int // seen before, the last one now
		want        bool
	}{
		"nothing to gain":                        {settled, []int{5000}, false},
		"much that was allocated is not live":    {heap{allocated: 100 * mib, objects: 40 * mib, live: 20 * mib}, []int{5000}, true},
		"much is free and not given back":        {heap{allocated: 100 * mib, objects: 20 * mib, live: 20 * mib, free: 20 * mib}, []int{5000}, true},
		"busy":                                   {heap{allocated: 150 * mib, objects: 40 * mib, live: 20 * mib}, []int{5000}, false},
		"a gain of few bytes":                    {heap{allocated: 100 * mib, objects: 4 * mib, live: 1 * mib}, []int{5000}, false},
		"a small share of a large heap":          {heap{allocated: 100 * mib, objects: 500 * mib, live: 490 * mib}, []int{5000}, false},
		"a thousand clients left":                {settled, []int{5000, 4000}, true},
		"a thousand came and left":               {settled, []int{6000, 5000}, true},
		"a few left":                             {settled, []int{4500, 4700}, false},
		"a thousand left while others are busy":  {heap{allocated: 150 * mib, objects: 20 * mib, live: 20 * mib}, []int{5000, 4000}, false},
		"live is what the last collection found": {heap{allocated: 100 * mib, objects: 10 * mib, live: 20 * mib}, []int{5000}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var r releaser
			r.start(settled, 5000)
			last := len(tc.connections) - 1
			for _, n := range tc.connections[:last] {
				r.due(settled, n)
			}
			got := r.due(tc.heap, tc.connections[last])
			if got != tc.want {
				t.Errorf("due = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestReadHeap(t *testing.T) {
	h := readHeap()
	if h.allocated == 0 || h.objects == 0 || h.objects > h.allocated {
		t.Errorf("readHeap = %+v, want a heap in use", h)
	}
}
