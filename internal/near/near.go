// Package near guesses which word somebody meant who wrote another one.
package near

import (
	"fmt"
	"slices"
	"strings"
)

// Hint asks whether the nearest of some words was meant, as the end of a message:
// ` (did you mean "binding"?)`. It is empty if none is near.
func Hint(word string, words []string) string {
	if near, ok := Word(word, words); ok {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// Expected lists words to choose from, the first ones if there are many.
func Expected(words []string) string {
	const most = 10
	if len(words) > most {
		return fmt.Sprintf("expected one of %q and %d more", words[:most], len(words)-most)
	}
	return fmt.Sprintf("expected one of %q", words)
}

// Word returns the word that is nearest to another one: with at most a third of its
// letters changed, exchanged, missing or too many, in any case. Of equals it is the
// first. A word that is one of them is meant as it is, and a number is none of them.
func Word(word string, words []string) (string, bool) {
	best, found := 0, ""
	const most = 64 // what is longer is no slip of the hand
	if len(word) > most || strings.Trim(word, "0123456789") == "" || slices.Contains(words, word) {
		return "", false
	}
	for _, w := range words {
		if len(w) > most {
			continue
		}
		d := distance(strings.ToLower(word), strings.ToLower(w))
		if d <= max(1, min(len(word), len(w))/3) && (found == "" || d < best) {
			best, found = d, w
		}
	}
	return found, found != ""
}

// distance counts the single changes between two words, an exchange of neighbours
// being one (optimal string alignment).
func distance(a, b string) int {
	above, row := make([]int, len(b)+1), make([]int, len(b)+1)
	before := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
