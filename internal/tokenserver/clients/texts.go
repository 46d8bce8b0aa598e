// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"slices"
	"strings"
	"unique"
)

// shared is a text that many apps have, in memory once.
func shared(text string) string { return unique.Make(text).Value() }

func sharedAll(texts []string) (all []string) {
	for _, text := range texts {
		all = append(slices.Grow(all, len(texts)-len(all)), shared(text))
	}
	return all
}

// together puts texts that only one app has into one piece of memory.
func together(texts ...*string) {
	parts := make([]string, len(texts))
	for i, text := range texts {
		parts[i] = *text
	}
	rest := strings.Join(parts, "")
	for _, text := range texts {
		*text, rest = rest[:len(*text)], rest[len(*text):]
	}
}
