// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryConditionAndReasonHasARow(t *testing.T) {
	conditions := page(t, "conditions.md")
	count := 0
	for path, prefix := range map[string]string{
		conditionsSource: "(Condition|Reason)", "internal/controller/connectedapp/events.go": "event", "internal/controller/tokenserver/events.go": "event",
		"internal/controller/accesstoken/status.go": "event", "internal/controller/tombstone/reconciler.go": "event",
		"internal/bootstrap/report.go": "event", "internal/bootstrap/objects.go": "event",
	} {
		source, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		for _, found := range regexp.MustCompile(`(?m)^\t`+prefix+`\w+ += "(\w+)"$`).FindAllStringSubmatch(string(source), -1) {
			count++
			require.Contains(t, conditions, "\n| `"+found[len(found)-1]+"` | ")
		}
	}
	require.Greater(t, count, 80)
	for _, row := range []string{
		"| `NotAllowed` | False | Stalled, PolicyAccepted False | No access rule ",
		"| `AppDisabled` | False | Stalled, TokenFresh Unknown | ",
		"| `Suspended` | True | Events | ",
		"| `Rotated` |  | Events | ",
		"[rotation](../spec/v1alpha1/connectedapps.md#rotation)",
	} {
		require.Contains(t, conditions, row)
	}
}

func TestAReasonIsToldInFull(t *testing.T) {
	written := func(comment string) error {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(dir, "api"), os.DirFS(filepath.Join(root, "api"))))
		for _, folder := range eventSources {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o755))
		}
		source, err := os.ReadFile(filepath.Join(root, conditionsSource))
		require.NoError(t, err)
		added := strings.TrimSpace(string(source)) + "\n\nconst (\n\t// " + strings.ReplaceAll(comment, "\n", "\n\t// ") + "\n\tReasonNew = \"New\"\n)\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, conditionsSource), []byte(added), 0o644))
		_, err = conditionsPage(dir)
		return err
	}
	require.NoError(t, written("ReasonNew: it is new.\n\n  - ConnectedApp Ready=False, Stalled or Reconciling, Events: Wait."))
	for comment, says := range map[string]string{
		"ReasonNew: it is new.":                                                 "the comment of ReasonNew does not say what it means and, in a list, of which kinds it is",
		"ReasonNew: it is new.\n\n  - Pod Ready=False: Wait.":                   "the comment of ReasonNew: Pod is no kind",
		"ReasonNew: it is new.\n\n  - AccessToken Rotating=True: Wait.":         "the comment of ReasonNew: AccessToken never shows Rotating=True",
		"ReasonNew: it is new.\n\n  - ConnectedApp Rotating: Wait.":             "the comment of ReasonNew: ConnectedApp never shows Rotating",
		"ReasonNew: it is new.\n\n  - ConnectedApp Stalled=True: Wait.":         "the comment of ReasonNew: ConnectedApp never shows Stalled=True",
		"ReasonNew: it is new.\n\n  - ConnectedApp Registered=Unknown: Wait.":   "the comment of ReasonNew: ConnectedApp never shows Registered=Unknown",
		"ReasonNew: it is new.\n\n  - ConnectedApp: it has no condition at all": "the comment of ReasonNew has an item of another form",
	} {
		require.ErrorContains(t, written(comment), says)
	}
}
