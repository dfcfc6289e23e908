package configs

import "strings"

// suggest returns what to do about a key that is in no setting: the nearest
// key of the section, or the section that does have it, or all there are.
func suggest(key string, settings []setting) string {
	for _, s := range settings {
		for _, inner := range s.inside {
			if inner.key == key {
				return key + " belongs under " + s.key
			}
		}
	}
	if near := nearest(key, keysOf(settings)); near != "" {
		return "Did you mean " + near + "?"
	}
	return "Use one of " + keys(settings)
}

func keysOf(settings []setting) []string {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.key
	}
	return names
}

// keys lists the keys of settings for a person.
func keys(settings []setting) string { return strings.Join(keysOf(settings), ", ") }

// nearest returns the candidate that word is most likely a slip of, or
// nothing when none is near enough.
func nearest(word string, candidates []string) string {
	const longest = 64 // a longer word is no slip, and costs time to compare
	if len(word) > longest {
		return ""
	}
	word = strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	best, found := 1+len(word)/4, ""
	for _, c := range candidates {
		if d := distance(word, c); d < best || d == best && found == "" {
			best, found = d, c
		}
	}
	return found
}

// distance is the number of single-byte insertions, deletions and changes
// between two words (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
