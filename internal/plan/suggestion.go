// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
)

// Suggestion is about a scope that a token server does not list.
type Suggestion struct {
	// Scope is the name that is not in the catalogue.
	Scope string
	// Nearest is the name in the catalogue that may have been meant; empty: none
	// is near.
	Nearest string
}

func (s Suggestion) String() string {
	if s.Nearest == "" {
		return fmt.Sprintf("scope %s is not in the token server's catalogue, which has no similar name: "+
			"if no service knows the scope, a token with it is good for nothing; correct spec.scopes", cut(s.Scope))
	}
	return fmt.Sprintf("scope %s is not in the token server's catalogue, which has %s: if that is meant, correct spec.scopes", cut(s.Scope), cut(s.Nearest))
}

// maxNearest bounds the work for an app of which every scope is unknown.
const maxNearest = 20

// UnknownScopes returns the scopes that are not in a server's catalogue, each
// once, in their order; the first maxNearest of them with the nearest name. An
// empty catalogue tells nothing: the result is nil. Servers accept such names all
// the same, since other services may know them.
func UnknownScopes(scopes, catalogue []string) []Suggestion {
	if len(catalogue) == 0 {
		return nil
	}
	known := make(map[string]bool, len(catalogue)+len(scopes))
	for _, name := range catalogue {
		known[name] = true
	}
	var unknown []Suggestion
	for _, name := range scopes {
		if known[name] {
			continue
		}
		known[name] = true // told once
		s := Suggestion{Scope: name}
		if len(unknown) < maxNearest {
			s.Nearest = nearest(name, catalogue)
		}
		unknown = append(unknown, s)
	}
	return unknown
}

// nearest returns the name that differs in the fewest letters, the first of
// several; empty when all differ in more than a third of them, or more than three.
func nearest(name string, catalogue []string) string {
	best, least := "", min(len(name)/3, 3)+1
	for _, candidate := range catalogue {
		if d := distance(name, candidate, least); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance counts the letters that were added, left out, replaced, or swapped
// with their neighbour between a and b (optimal string alignment). It gives up at
// limit, which it then returns.
func distance(a, b string, limit int) int {
	if max(len(a), len(b))-min(len(a), len(b)) >= limit {
		return limit
	}
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := row[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			next[j] = min(row[j]+1, next[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		if min(slices.Min(next), slices.Min(row)) >= limit {
			return limit
		}
		before, row, next = row, next, before
	}
	return min(row[len(b)], limit)
}
