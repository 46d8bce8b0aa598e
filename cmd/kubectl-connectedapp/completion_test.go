// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
)

// envPlugin makes the test binary the plugin.
const envPlugin = "CONNECTEDAPP_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(envPlugin) != "" {
		main()
	}
	os.Exit(m.Run())
}

// named answers as an API server with two apps, a token and two namespaces.
func named(t *testing.T) (kubeconfigPath string) {
	t.Helper()
	answers := map[string]string{
		"/api": `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"connectedapps.dev",
			"versions":[{"groupVersion":"connectedapps.dev/v1alpha1","version":"v1alpha1"}]}]}`,
		"/api/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"namespaces","kind":"Namespace"}]}`,
		"/apis/connectedapps.dev/v1alpha1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"connectedapps.dev/v1alpha1","resources":[
			{"name":"connectedapps","kind":"ConnectedApp","namespaced":true},{"name":"accesstokens","kind":"AccessToken","namespaced":true}]}`,
		"/api/v1/namespaces": `{"kind":"NamespaceList","apiVersion":"v1","items":[{"metadata":{"name":"billing"}},{"metadata":{"name":"payments"}}]}`,
		"/apis/connectedapps.dev/v1alpha1/namespaces/payments/connectedapps": `{"kind":"ConnectedAppList","apiVersion":"connectedapps.dev/v1alpha1",
			"items":[{"metadata":{"name":"gitproxy"}},{"metadata":{"name":"reports"}}]}`,
		"/apis/connectedapps.dev/v1alpha1/namespaces/payments/accesstokens": `{"kind":"AccessTokenList","apiVersion":"connectedapps.dev/v1alpha1",
			"items":[{"metadata":{"name":"gitproxy"}},{"metadata":{"name":"web"}}]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if answer := answers[r.URL.Path]; answer != "" {
			_, _ = w.Write([]byte(answer))
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return kubeconfig(t, server.URL)
}

func TestNamesAreCompleted(t *testing.T) {
	config := "--kubeconfig=" + named(t)
	for line, want := range map[string]string{
		"status %":             "accesstoken/gitproxy app/gitproxy gitproxy reports web",
		"token %":              "accesstoken/gitproxy app/gitproxy gitproxy reports web",
		"rotate %":             "gitproxy reports",
		"rotate gitproxy %":    "",
		"login %":              "gitproxy reports",
		"status --namespace %": "billing payments",
		"status --context %":   "here nowhere",
		"status -o %":          "json name yaml",
		"completion %":         "bash fish kubectl powershell zsh",
	} {
		args := []string{"__completeNoDesc", config, "--context=here"}
		for _, word := range strings.Fields(line) {
			args = append(args, strings.TrimPrefix(word, "%"))
		}
		stdout, _, code := call(t, args...)
		require.Zero(t, code)
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		require.Equal(t, ":4", lines[len(lines)-1], "%s: no files", line)
		require.ElementsMatch(t, strings.Fields(want), lines[:len(lines)-1], line)
	}
	stdout, _, code := call(t, "__completeNoDesc", "--kubeconfig="+kubeconfig(t, "http://127.0.0.1:1"), "status", "")
	require.Zero(t, code)
	require.Equal(t, ":4\n", stdout, "who cannot be asked knows no names")
}

// kubectl itself completes the plugin by a program of a name of its own.
func TestKubectlCompletesThePlugin(t *testing.T) {
	folder := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	script, _, code := call(t, "completion", "kubectl")
	require.Zero(t, code)
	for name, text := range map[string]string{
		"kubectl-connectedapp":          "#!/bin/sh\n" + envPlugin + "=1 exec " + self + " \"$@\"\n",
		"kubectl_complete-connectedapp": script,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700))
	}
	kubectl, err := testenv.KubectlPath()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), kubectl, "__completeNoDesc", "connectedapp", "status", "--context=here", "")
	command.Env = []string{"PATH=" + folder + ":/usr/bin:/bin", "HOME=" + folder, "KUBECONFIG=" + named(t)}
	out, err := command.Output()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "app/gitproxy\n")
	require.Contains(t, string(out), "web\n")
}

func TestEveryShellHasAScript(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		stdout, stderr, code := call(t, "completion", shell)
		require.Zero(t, code, stderr)
		require.Contains(t, stdout, "__complete")
		require.Contains(t, stdout, "kubectl-connectedapp")
	}
	_, _, code := call(t, "completion", "tcsh")
	require.Equal(t, exitUsage, code)
}
