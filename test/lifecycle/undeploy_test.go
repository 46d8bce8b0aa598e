// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// undeployKinds runs hack/undeploy.sh for the kinds, by a kubectl before each call of
// which a script runs, with the arguments and a KUBECONFIG of its own.
func undeployKinds(t *testing.T, before string, environment ...string) (string, error) {
	t.Helper()
	folder := t.TempDir()
	config, err := os.ReadFile(kubeconfig)
	require.NoError(t, err)
	own, program := filepath.Join(folder, "kubeconfig"), filepath.Join(folder, "kubectl")
	require.NoError(t, os.WriteFile(own, config, 0o600))
	script := "#!/usr/bin/env bash\nreal='" + kubectlPath + "' calls=\"$0.calls\"\n" + before + "\nexec \"$real\" \"$@\"\n"
	require.NoError(t, os.WriteFile(program, []byte(script), 0o700))
	// Where the kinds go before their objects, kubectl would wait for ever.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(root, "hack", "undeploy.sh"), "config/crd")
	c.Env = append(append(os.Environ(), "KUBECONFIG="+own, "KUBECTL="+program, "TIMEOUT=1"), environment...)
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	t.Logf("hack/undeploy.sh:\n%s", out)
	return string(out), err
}

// held are the kinds, and an object that only a manager lets go.
func held(t *testing.T) {
	t.Helper()
	kubectl(t, "", "apply", "--server-side", "-k", filepath.Join(root, "config", "crd"))
	require.Eventually(t, func() bool {
		_, _, err := tryKubectl(t, "", "get", "connectedapps,accesstokens,tokenservers", "--all-namespaces")
		return err == nil
	}, time.Minute, 200*time.Millisecond)
	kubectl(t, `{"apiVersion":"connectedapps.dev/v1alpha1","kind":"TokenServer","metadata":{"name":"held","finalizers":["connectedapps.dev/finalizer"]},
		"spec":{"url":"https://localhost:1","credentials":{"type":"ServiceAccount","clientID":"m"}}}`, "apply", "--server-side", "-f", "-")
	t.Cleanup(func() {
		_, _, _ = tryKubectl(t, "", "patch", "tokenserver", "held", "--type=merge", `--patch={"metadata":{"finalizers":null}}`)
		_, _, _ = tryKubectl(t, "", "delete", "--ignore-not-found", "-k", filepath.Join(root, "config", "crd"))
	})
}

// isThere tells whether an object has our finalizer and its kind is not ending.
func isThere(t *testing.T, name string) bool {
	t.Helper()
	stdout, _, err := tryKubectl(t, "", "get", "crd", "tokenservers.connectedapps.dev", "-o", "jsonpath={.metadata.deletionTimestamp}")
	if err != nil || stdout != "" {
		return false
	}
	return strings.Contains(kubectl(t, "", "get", name, "-o", "jsonpath={.metadata.finalizers}"), "connectedapps.dev/finalizer")
}

func TestWhatCannotBeListedIsNotTakenForGone(t *testing.T) {
	for name, before := range map[string]string{
		"the kinds, never":        `[[ $* != *"get crd"* ]] || { echo 'Error from server (Forbidden)' >&2; exit 1; }`,
		"the kinds, once later":   `[[ $* != *"get crd"* ]] || { echo >>"$calls"; (($(wc -l <"$calls") != 4)) || { echo 'Error from server (Timeout)' >&2; exit 1; }; }`,
		"the objects, once later": `[[ $* != *"get tokenservers"* ]] || { echo >>"$calls"; echo 'Error from server (Timeout)' >&2; exit 1; }`,
	} {
		t.Run(name, func(t *testing.T) {
			held(t)
			out, err := undeployKinds(t, before, "FORCE=1")
			require.Error(t, err)
			require.Contains(t, out, "nothing else was removed")
			require.True(t, isThere(t, "tokenserver/held"))
		})
	}
}

func TestUndeployKeepsToTheClusterItBeganWith(t *testing.T) {
	held(t)
	_, err := undeployKinds(t, `[[ -e $calls ]] || {
  touch "$calls"
  "$real" "$@"; status=$?
  "$real" config set-cluster elsewhere --server=https://127.0.0.1:1 >/dev/null
  "$real" config set-context elsewhere --cluster=elsewhere >/dev/null
  "$real" config use-context elsewhere >/dev/null
  exit $status
}`, "FORCE=1")
	require.NoError(t, err)
	require.Empty(t, kubectl(t, "", "get", "crd", "-o", "name"))
}
