// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/plugin"
)

func call(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(t.Context(), args, &out, &errOut)
	return out.String(), errOut.String(), code
}

func TestEveryCommandTeaches(t *testing.T) {
	for _, command := range append(rootCommand().Commands(), rootCommand()) {
		require.NotEmpty(t, command.Short, command.Name())
		require.NotEmpty(t, command.Long, command.Name())
		require.Contains(t, command.Example, "kubectl connectedapp ", command.Name())
	}
	stdout, _, code := call(t, "rotate", "--help")
	require.Zero(t, code)
	require.Contains(t, stdout, "kubectl connectedapp rotate APP [flags]", "as it is called")
	for _, flag := range []string{"--kubeconfig", "--context", "--namespace", "--as ", "--output", "--timeout"} {
		require.Contains(t, stdout, flag)
	}
}

func TestWrongUseIsExplained(t *testing.T) {
	for _, args := range [][]string{{"rotate"}, {"token"}, {"status", "x", "y"}, {"status", "x", "-A"}, {"status", "-o", "wide"}, {"destroy"}, {"status", "--no-such"}} {
		stdout, stderr, code := call(t, args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, stderr)
		require.Contains(t, stderr, "hint: kubectl connectedapp --help shows the commands")
		require.Empty(t, stdout)
	}
}

// kubeconfig has two contexts: the current one leads nowhere.
func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(path, []byte(`
apiVersion: v1
kind: Config
current-context: nowhere
clusters:
- {name: nowhere, cluster: {server: "http://127.0.0.1:1"}}
- {name: here, cluster: {server: "`+url+`"}}
contexts:
- {name: nowhere, context: {cluster: nowhere}}
- {name: here, context: {cluster: here, namespace: payments}}
`), 0o600))
	return path
}

func TestContextsAndNamespacesAreKubectls(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/apis/connectedapps.dev/v1alpha1":
			_, _ = w.Write([]byte(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"connectedapps.dev/v1alpha1","resources":[
				{"name":"connectedapps","kind":"ConnectedApp","namespaced":true},{"name":"accesstokens","kind":"AccessToken","namespaced":true}]}`))
		default:
			_, _ = w.Write([]byte(`{"kind":"ConnectedAppList","apiVersion":"connectedapps.dev/v1alpha1","items":[]}`))
		}
	}))
	defer server.Close()
	config := "--kubeconfig=" + kubeconfig(t, server.URL)

	_, stderr, code := call(t, "status", config)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "connection refused")

	_, stderr, code = call(t, "status", config, "--context=here")
	require.Zero(t, code, stderr)
	require.Equal(t, "No ConnectedApps and no AccessTokens in namespace payments.\n", stderr)
	require.Contains(t, asked, "/apis/connectedapps.dev/v1alpha1/namespaces/payments/connectedapps")
	_, stderr, code = call(t, "status", config, "--context=here", "-n", "billing")
	require.Zero(t, code, stderr)
	require.Contains(t, asked, "/apis/connectedapps.dev/v1alpha1/namespaces/billing/accesstokens")
	_, stderr, code = call(t, "status", config, "--context=here", "-n", "billing", "-A")
	require.Zero(t, code, stderr)
	require.Equal(t, "No ConnectedApps and no AccessTokens in any namespace.\n", stderr)
	require.Contains(t, asked, "/apis/connectedapps.dev/v1alpha1/accesstokens")
}

func TestAClusterWithoutTheOperatorIsNamed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api":
			_, _ = w.Write([]byte(`{"kind":"APIVersions","versions":["v1"]}`))
		case "/apis":
			_, _ = w.Write([]byte(`{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	manifest := filepath.Join(t.TempDir(), "app.yaml")
	require.NoError(t, os.WriteFile(manifest, []byte("apiVersion: connectedapps.dev/v1alpha1\nkind: ConnectedApp\nmetadata: {name: x}\n"), 0o600))
	for _, test := range []struct {
		code int
		args []string
	}{
		{exitFailed, []string{"status"}},
		{exitFailed, []string{"status", "x"}},
		{plugin.DiffFailed, []string{"diff", "-f", manifest}},
	} {
		_, stderr, code := call(t, append(test.args, "--kubeconfig="+kubeconfig(t, server.URL), "--context=here")...)
		require.Equal(t, test.code, code, test.args)
		require.Contains(t, stderr, "error: ")
		require.Contains(t, stderr, "the cluster does not know Connected Apps: install the operator, or choose another --context\n")
	}
}

func TestThePageHasEveryCommand(t *testing.T) {
	page, err := os.ReadFile("../../docs/kubectl-plugin.md")
	require.NoError(t, err)
	for _, command := range rootCommand().Commands() {
		require.Contains(t, string(page), "\n| `"+command.Name(), command.Name())
	}
}

// Programs tell a difference from a failure, as of kubectl diff.
func TestAFailureIsNoDifference(t *testing.T) {
	for _, args := range [][]string{{"diff"}, {"diff", "-f", "no-such.yaml"}, {"diff", "-f", "main.go", "--kubeconfig", "no-such"}} {
		_, stderr, code := call(t, args...)
		require.Equal(t, plugin.DiffFailed, code, "%v: %s", args, stderr)
		require.Contains(t, stderr, "error: ")
	}
}

func TestNothingIsColouredForAProgram(t *testing.T) {
	require.False(t, colors(&bytes.Buffer{}))
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer file.Close()
	require.False(t, colors(file))
}
