// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/plugin"
	"connectedapps.dev/operator/internal/plugin/lint"
)

const shop = "apiVersion: connectedapps.dev/v1alpha1\nkind: ConnectedApp\nmetadata: {name: shop}\nspec:\n  grantTypes: [client_credentials]\n"

func TestLintNeedsNoCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	good := write("good.yaml", shop)
	const notJudged = "access rules were not judged: --policy takes the manifest of a TokenServer\n"
	stdout, stderr, code := call(t, "lint", "-f", good)
	require.Zero(t, code, stderr)
	require.Empty(t, stdout)
	require.Equal(t, notJudged+"0 warnings in 1 object\n", stderr)

	bad := write("deeper/bad.yaml", shop+"  scope: a\n")
	stdout, stderr, code = call(t, "lint", "-f", folder)
	require.Zero(t, code, stdout+stderr)
	stdout, stderr, code = call(t, "lint", "-R", "-f", folder)
	require.Equal(t, exitFailed, code)
	require.Equal(t, bad+":6: error: ConnectedApp shop: spec.scope: unknown field [unknown-field]\n", stdout)
	require.Equal(t, notJudged+"error: 1 error and 0 warnings in 2 objects\n", stderr)
	stdout, _, code = call(t, "lint", "-f", bad, "-o", "json", "-n", "payments")
	require.Equal(t, exitFailed, code)
	var report lint.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	require.Equal(t, []lint.Finding{{
		File: bad, Line: 6, Severity: lint.Error, Rule: "unknown-field", Kind: "ConnectedApp", Namespace: "payments", Name: "shop",
		Field: "spec.scope", Message: "unknown field",
	}}, report.Findings)
	stdout, _, _ = call(t, "lint", "-f", bad, "-o", "name")
	require.Equal(t, "connectedapp.connectedapps.dev/shop\n", stdout)

	policy := write("policy/tokenserver.yaml", `apiVersion: connectedapps.dev/v1alpha1
kind: TokenServer
metadata: {name: default}
spec:
  url: https://id.example.com
  credentials: {type: Secret, secretRef: {name: admin}}
  access:
  - {name: all, namespaceSelector: {matchLabels: {team: payments}}, grantTypes: [client_credentials]}
`)
	_, stderr, code = call(t, "lint", "-f", good, "--policy", policy, "--namespace-labels", "team=payments")
	require.Zero(t, code, stderr)
	require.NotContains(t, stderr, "not judged")
	stdout, _, code = call(t, "lint", "-f", good, "--policy", policy)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stdout, "[access-rule]")

	_, stderr, code = call(t, "lint", "-f", filepath.Join(folder, "none.yaml"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "no such file")
	_, stderr, code = call(t, "lint", "-f", filepath.Join(folder, "deeper", "bad.yaml"), "-f", t.TempDir())
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "has no .yaml, .yml or .json file; --recursive looks into its folders too")
}

func TestLintReadsStandardInput(t *testing.T) {
	root := rootCommand()
	var out bytes.Buffer
	root.SetArgs([]string{"lint", "-f", "-"})
	root.SetIn(strings.NewReader(shop + "  scope: a\n"))
	root.SetOut(&out)
	root.SetErr(&out)
	require.Error(t, root.Execute())
	require.Contains(t, out.String(), "-:6: error: ConnectedApp shop: spec.scope: unknown field")
}

func TestQuestionsThatAreNone(t *testing.T) {
	for _, row := range []struct {
		args []string
		says string
	}{
		{[]string{"lint"}, `required flag(s) "filename" not set`},
		{[]string{"lint", "-f", "x", "-o", "wide"}, "--output wide"},
		{[]string{"can-i"}, "nothing is asked about: give --grant, --scope"},
		{[]string{"can-i", "--redirect-host", "https://a.example/"}, "it must be a host alone"},
		{[]string{"adopt", "app"}, "accepts 2 arg(s)"},
		{[]string{"orphans", "id"}, "client ids, --all and --yes are for --delete"},
		{[]string{"orphans", "--delete"}, "--delete needs the ids of clients, or --all"},
		{[]string{"orphans", "--delete", "--all", "id"}, "--delete needs the ids of clients, or --all"},
		{[]string{"orphans", "--delete", "id", "--token-file", "-"}, "add --yes"},
	} {
		stdout, stderr, code := call(t, row.args...)
		require.Equal(t, exitUsage, code, "%v: %s", row.args, stderr)
		require.Contains(t, stderr, row.says)
		require.Empty(t, stdout)
	}
}

// A cluster that does not answer has not said no.
func TestCanIThatNobodyAnswersIsNotNo(t *testing.T) {
	_, stderr, code := call(t, "can-i", "--grant", "client_credentials", "--kubeconfig="+kubeconfig(t, "http://127.0.0.1:1"))
	require.Equal(t, plugin.ExitNotKnown, code)
	require.Contains(t, stderr, "connection refused")
}

func TestOnlyYesDeletes(t *testing.T) {
	for answer, want := range map[string]bool{"yes\n": true, "yes\r\n": true, "y\n": false, "": false, "\n": false, "no\nyes\n": false} {
		root := rootCommand()
		var asked bytes.Buffer
		root.SetIn(strings.NewReader(answer))
		root.SetErr(&asked)
		yes, err := confirm(root, "Really?\n")
		require.NoError(t, err)
		require.Equal(t, want, yes, "%q", answer)
		require.Equal(t, "Really?\nType yes to delete: ", asked.String())
	}
}

func TestATokenIsReadFromAFileOrStandardInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("abc\n"), 0o600))
	token, err := readToken(path, strings.NewReader("other"))
	require.NoError(t, err)
	require.Equal(t, "abc", token)
	token, err = readToken("-", strings.NewReader("def\n"))
	require.NoError(t, err)
	require.Equal(t, "def", token)
	_, err = readToken("-", strings.NewReader("\n"))
	require.EqualError(t, err, "reading the token: there is none")
	_, err = readToken(path+"x", nil)
	require.ErrorContains(t, err, "reading the token: ")
}
