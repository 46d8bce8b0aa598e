// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReleaseNotesAreASectionOfTheChangelog(t *testing.T) {
	t.Parallel()
	notes, err := notesOf(fixtureChangelog, "v0.2.0")
	require.NoError(t, err)
	require.Equal(t, "### Added\n\n- The sidecar says *when*.\n", notes)
	notes, err = notesOf(fixtureChangelog, "v0.1.0")
	require.NoError(t, err)
	require.Equal(t, "- The first.\n", notes)

	for problem, row := range map[string]struct{ version, changelog, want string }{
		"a version it does not know": {"v0.3.0", fixtureChangelog, "has no section of 0.3.0: give what is below [Unreleased]"},
		"a section without a date":   {"v0.3.0", "# Changelog\n\n## [0.3.0]\n\n- Something.\n", "CHANGELOG.md, line 3: [0.3.0] has no date"},
		"a date that is none":        {"v0.3.0", "## [0.3.0] - 1.12.2026\n\n- Something.\n", "[0.3.0] has no date"},
		"an empty section":           {"v0.3.0", "## [0.3.0] - 2026-12-01\n\n## [0.2.0] - 2026-11-01\n\n- x\n", "says nothing of 0.3.0"},
	} {
		t.Run(problem, func(t *testing.T) {
			t.Parallel()
			_, err := notesOf(row.changelog, row.version)
			require.ErrorContains(t, err, row.want)
		})
	}
}

// TestOurChangelog is one that a release can be made of.
func TestOurChangelogHasTheNotesOfEachRelease(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../CHANGELOG.md")
	require.NoError(t, err)
	headings := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "## ") {
			continue
		}
		heading := releaseHeading.FindStringSubmatch(strings.TrimSpace(line))
		require.NotNil(t, heading, line)
		headings++
		if headings == 1 {
			require.Equal(t, "Unreleased", heading[1], "what is next comes first")
			continue
		}
		_, err := notesOf(string(text), "v"+heading[1])
		require.NoError(t, err)
	}
	require.Greater(t, headings, 1)
}
