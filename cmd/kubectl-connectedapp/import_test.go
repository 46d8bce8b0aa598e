// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func written(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestImportNeedsNoCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	config := written(t, `staticClients: [{id: argo-cd, secret: a-secret-of-argo-cd, redirectURIs: ["https://argocd.example.com/cb"], trustedPeers: [x]}]`)
	stdout, stderr, code := call(t, "import", "dex", config, "-n", "payments")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "---\n# Client argo-cd\n# Not carried over:\n#   trustedPeers: ")
	require.Contains(t, stdout, "  namespace: payments\n")
	require.Contains(t, stderr, "CLIENT    NOT-CARRIED-OVER   WHY\n")
	require.NotContains(t, stdout+stderr, "a-secret-of-argo-cd")
	stdout, stderr, code = call(t, "import", "dex", config, "-n", "payments", "--access", "--token-server", "main")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "# For spec.access of the TokenServer\n- audiences:\n")

	_, stderr, code = call(t, "import", "dex", config, "--secrets")
	require.Equal(t, exitFailed, code, "that needs the cluster")
	require.Contains(t, stderr, "error: ")
}

func TestImportsFromAServerBySomebodyWhoMay(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	server := tokenservertest.Start(t)
	read := func(url, secret string) (stdout, stderr string, code int) {
		return call(t, "import", "tokenserver", "--url", url, "--client-id", server.AdminClientID, "--client-secret-file", written(t, secret), "-n", "payments")
	}
	stdout, stderr, code := read(server.URL, server.AdminClientSecret+"\n")
	require.Zero(t, code, stderr)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "0 clients imported, 0 not\n")

	for name, args := range map[string][2]string{
		"a wrong secret": {server.URL, "not-the-secret-of-anybody"}, "no server": {"http://127.0.0.1:1", server.AdminClientSecret},
		"no secret": {server.URL, "\n"}, "no address": {"id.example.com", server.AdminClientSecret},
	} {
		stdout, stderr, code := read(args[0], args[1])
		require.Equal(t, exitFailed, code, name)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "error: ", name)
		require.NotContains(t, stderr, "secret-of-anybody")
		require.NotContains(t, stderr, server.AdminClientSecret)
	}
}

func TestImportIsCalledRightly(t *testing.T) {
	for _, args := range [][]string{
		{"import", "dex"}, {"import", "tokenserver"}, {"import", "okta"}, {"import", "dex", "f", "--secrets", "--secrets-file", "g"}, {"import", "dex", "f", "-o", "wide"},
	} {
		_, stderr, code := call(t, args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, stderr)
	}
	_, stderr, code := call(t, "import", "keycloak", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "no such file")
	large := written(t, "")
	require.NoError(t, os.Truncate(large, 1<<40))
	for _, args := range [][]string{
		{"import", "keycloak", large}, {"import", "tokenserver", "--url", "https://id.example.com", "--client-id", "x", "--client-secret-file", large}, {"lint", "-f", large},
	} {
		_, stderr, code = call(t, args...)
		require.Equal(t, exitFailed, code)
		require.Contains(t, stderr, large+" has more than 1", "%v", args)
	}
	_, stderr, code = call(t, "import", "keycloak", written(t, `{"clients": "secret-of-somebody"}`))
	require.Equal(t, exitFailed, code)
	require.NotContains(t, stderr, "secret-of-somebody")
}
