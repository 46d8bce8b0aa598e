// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxNameLength is the longest name that a ConnectedApp may have, so that the
// names of its Secrets fit.
const maxNameLength = 52

// namesFor makes the names of the objects: from the clients' names, or else their
// ids. Clients that would be called the same get a part of their ids' digests, all
// of them, so that no name depends on which came first.
func namesFor(drafts []*draft) []string {
	names := make([]string, len(drafts))
	count := map[string]int{}
	for i, d := range drafts {
		names[i] = cmp.Or(label(d.name), label(d.id), "app")
		count[names[i]]++
	}
	taken := map[string]bool{}
	for name, n := range count {
		taken[name] = n == 1 && name != "app"
	}
	for i, d := range drafts {
		if taken[names[i]] && count[names[i]] == 1 {
			continue
		}
		sum := sha256.Sum256([]byte(d.id))
		digest, base := hex.EncodeToString(sum[:]), names[i]
		for length := 6; ; length++ {
			names[i] = shortened(base, maxNameLength-length-1) + "-" + digest[:length]
			if !taken[names[i]] {
				break
			}
		}
		taken[names[i]] = true
	}
	return names
}

// label makes a DNS label of a text; empty when nothing of it can stand in one.
func label(text string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(text)) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r): // an accent
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return shortened(strings.Trim(b.String(), "-"), maxNameLength)
}

func shortened(name string, length int) string {
	return strings.TrimRight(name[:min(len(name), length)], "-")
}
