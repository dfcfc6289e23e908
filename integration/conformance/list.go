package conformance

import (
	"fmt"
	"os"
	"strings"
)

// Item is one line of the conformance list.
type Item struct {
	ID       string // "T001"
	Area     string // "conn", "pub", …
	Text     string // what holds
	Inferred bool   // concluded, not documented or captured
}

// Load reads the conformance list: a title line, then tab-parted id, area,
// text, and "yes" or "no" for inferred.
func Load(path string) ([]Item, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var items []Item
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		cells := strings.Split(line, "\t")
		if len(cells) != 4 {
			return nil, fmt.Errorf("%s:%d: %d cells, want 4", path, i+2, len(cells))
		}
		items = append(items, Item{ID: cells[0], Area: cells[1], Text: cells[2], Inferred: cells[3] == "yes"})
	}
	return items, nil
}
