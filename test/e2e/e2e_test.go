// SPDX-License-Identifier: Apache-2.0

// Package e2e looks at the product in real Pods on a real node, which
// hack/e2e.sh makes: make test-e2e.
package e2e

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

const volume = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: tokenserver}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  local: {path: $E2E_VOLUME}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node]}]}]}}
`

// TestTheInstallationBecomesReady installs what make deploy does, and takes it
// away.
func TestTheInstallationBecomesReady(t *testing.T) {
	if os.Getenv("E2E") == "" {
		t.Skip("make test-e2e runs it")
	}
	run := func(script string) {
		t.Logf("$ %s", script)
		command := exec.CommandContext(t.Context(), "sh", "-euc", script)
		command.Stdout, command.Stderr = os.Stderr, os.Stderr
		require.NoError(t, command.Run(), script)
	}
	run("$KUBECTL apply -f - <<'END'\n" + os.ExpandEnv(volume) + "END")
	run("for f in config/default config/injection; do $KUBECTL apply --server-side -k $f >/dev/null; done")
	run("$KUBECTL rollout status --timeout=120s -n connectedapps-system deployment/tokenserver deployment/connectedapps-manager || " +
		"{ $KUBECTL describe pods -n connectedapps-system; exit 1; }")
	run("for f in config/injection config/default; do $KUBECTL delete --timeout=120s -k $f >/dev/null; done")
	run("! $KUBECTL get namespace connectedapps-system 2>/dev/null")
}
