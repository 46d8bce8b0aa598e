// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
)

// onThePage is the code block of a page of docs/ that begins with the line.
func onThePage(t *testing.T, page, language, first string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", page))
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "```"+language+"\n"+first+"\n")
	require.True(t, found, "%s has no block %s", page, first)
	block, _, _ := strings.Cut(after, "```")
	return block
}

// program is one that "make" builds of test/clients/programs.
func program(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(testenv.ModuleRoot(), "bin", "clients", name)
	require.FileExists(t, file, "it is built by: make client-tools")
	return file
}
