// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func none(string) string { return "" }

func TestWrongFlagsAreExplained(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitUsage, run(t.Context(), []string{"--resync-interval=now"}, none, &stdout, &stderr))
	require.Contains(t, stderr.String(), "resync-interval")
	require.Contains(t, stderr.String(), "manager --help")
	require.Empty(t, stdout.String())
}

func TestVersionAndHelpSucceed(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run(t.Context(), []string{"--version"}, none, &stdout, &stderr))
	require.Equal(t, version+"\n", stdout.String())
	require.Equal(t, 0, run(t.Context(), []string{"--help"}, none, &stdout, &stderr))
	require.Empty(t, stderr.String())
}

func TestAClusterThatDoesNotAnswerIsAnErrorWithAHint(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/missing")
	t.Setenv("HOME", t.TempDir())
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), nil, none, &stdout, &stderr))
	require.Contains(t, stderr.String(), "--kubeconfig")
}
