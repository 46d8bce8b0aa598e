// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"encoding/pem"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// TestTheSamplesAndThePageOfGitOps applies config/samples, waits as docs/gitops.md
// does, and applies them again.
func TestTheSamplesAndThePageOfGitOps(t *testing.T) {
	t.Parallel()
	plane.ShareManager(t)
	plane.ShareCollector(t)
	kubectl := plane.Kubectl(t)
	instance := tokenservertest.Start(t, tokenservertest.WithTLS())
	// Their TokenServer is the one that config/default installs.
	plane.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "tokenserver-admin"},
		StringData: map[string]string{"client-id": instance.AdminClientID, "client-secret": instance.AdminClientSecret},
	})
	plane.Create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "tokenserver-ca"},
		Data:       map[string]string{"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: instance.HTTP.Certificate().Raw}))},
	})
	samples := kubectl.Run(t, "", "kustomize", config("samples"))
	require.Contains(t, samples, "https://tokenserver.connectedapps-system.svc")
	samples = strings.ReplaceAll(samples, "https://tokenserver.connectedapps-system.svc", instance.URL)
	// This one has a secret: the manager of these tests runs as nobody's ServiceAccount.
	const account = "    clientID: connectedapps-manager\n    type: ServiceAccount\n"
	require.Contains(t, samples, account)
	samples = strings.ReplaceAll(samples, account, "    secretRef: {name: tokenserver-admin}\n    type: Secret\n")
	server, app, token := &v1alpha1.TokenServer{}, &v1alpha1.ConnectedApp{}, &v1alpha1.AccessToken{}
	server.Name = "default"
	for _, o := range []client.Object{app, token} {
		o.SetNamespace("payments")
		o.SetName("gitproxy")
	}
	for _, flags := range [][]string{nil, {"--server-side"}} {
		kubectl.Run(t, samples, append([]string{"apply", "-f", "-"}, flags...)...)
		for _, command := range waits(t) {
			kubectl.Run(t, "", command...)
		}
		requireUnchanged(t, kubectl, samples, flags, server, app, token)
		kubectl.Run(t, samples, "delete", "-f", "-", "--timeout=2m")
	}
}

// waits are the commands of the page that are complete.
func waits(t *testing.T) [][]string {
	t.Helper()
	var commands [][]string
	for _, line := range regexp.MustCompile(`(?m)^kubectl (wait .+)$`).FindAllStringSubmatch(page(t), -1) {
		commands = append(commands, strings.Fields(strings.ReplaceAll(line[1], "'", "")))
	}
	require.Greater(t, len(commands), 5)
	return commands
}

// page is docs/gitops.md.
func page(t testing.TB) string { return read(t, filepath.Join(root, "docs", "gitops.md")) }

// TestTheTableOfThePageAgreesWithItself: its rows have the words that the tools have
// for one another's.
func TestTheTableOfThePageAgreesWithItself(t *testing.T) {
	var pairs []string
	for _, s := range []shown{isCurrent, isInProgress, isFailed, isSuspended, isTerminating} {
		pairs = append(pairs, string(s.kstatus)+" "+s.argo)
	}
	rows := regexp.MustCompile(`(?m)^\| .+ \| (Current|InProgress|Failed|Terminating)\b[^|]* \| (\w+) \| (waits|ends)\b[^|]* \|$`).FindAllStringSubmatch(page(t), -1)
	require.Len(t, rows, 12)
	for _, row := range rows {
		require.Contains(t, pairs, row[1]+" "+row[2], row[0])
		require.False(t, row[3] == "ends" && row[1] != "Current", row[0])
	}
}
