// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// releaseHeading is a section of a release, as Keep a Changelog wants it.
// https://keepachangelog.com/en/1.1.0/
var releaseHeading = regexp.MustCompile(`^## \[([^\]]+)\](?: - (\S+))?\s*$`)

// notesOf are what a changelog says of a version, without its heading.
func notesOf(changelog, version string) (string, error) {
	number := strings.TrimPrefix(version, "v")
	var notes []string
	found, inside := false, false
	for i, line := range strings.Split(changelog, "\n") {
		heading := releaseHeading.FindStringSubmatch(line)
		switch {
		case heading != nil && heading[1] == number:
			if _, err := time.Parse(time.DateOnly, heading[2]); err != nil {
				return "", fmt.Errorf("CHANGELOG.md, line %d: [%s] has no date: write ## [%s] - 2026-12-31, with the day of the release", i+1, number, number)
			}
			found, inside = true, true
		case strings.HasPrefix(line, "## "), strings.HasPrefix(line, "["):
			inside = false
		case inside:
			notes = append(notes, line)
		}
	}
	text := strings.TrimSpace(strings.Join(notes, "\n"))
	switch {
	case !found:
		return "", fmt.Errorf("CHANGELOG.md has no section of %s: "+
			"give what is below [Unreleased] the heading ## [%s] - 2026-12-31, with the day of the release", number, number)
	case text == "":
		return "", fmt.Errorf("CHANGELOG.md says nothing of %s: what does a user notice?", number)
	}
	return text + "\n", nil
}
