// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheApplicationForgivesNothing keeps the tests on a node able to fail.
func TestTheApplicationForgivesNothing(t *testing.T) {
	const valid = `{"access_token": "abc", "expires_at": "2999-01-01T00:00:00Z"}`
	for name, row := range map[string]struct{ alone, details, problem string }{
		"a valid token":          {"abc", valid, ""},
		"no token":               {"", valid, "no such file"},
		"no details":             {"abc", "", "no such file"},
		"half a token":           {"ab", valid, "is not the token of token.json"},
		"another token":          {"xyz", valid, "is not the token of token.json"},
		"half the details":       {"abc", valid[:len(valid)-1], "unexpected end"},
		"details of no token":    {"abc", `{"expires_at": "2999-01-01T00:00:00Z"}`, "has no access_token"},
		"a token that expired":   {"abc", `{"access_token": "abc", "expires_at": "2001-01-01T00:00:00Z"}`, "expired at"},
		"a token without an end": {"abc", `{"access_token": "abc"}`, "expired at"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"access-token": row.alone, "token.json": row.details} {
				if text != "" {
					require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
				}
			}
			err := run(dir, 1)
			if row.problem == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, row.problem)
			}
		})
	}
}
