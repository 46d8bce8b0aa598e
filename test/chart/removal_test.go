// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/controlplane"
	"connectedapps.dev/operator/internal/testenv/program"
)

// patience is for the end of namespaces, which comes back every few seconds.
const patience = 2 * time.Minute

// ours are objects of the platform team and of a team that a manager has worked on,
// with a token server that does not answer.
const ours = `
apiVersion: v1
kind: Namespace
metadata: {name: payments}
---
apiVersion: connectedapps.dev/v1alpha1
kind: TokenServer
metadata: {name: default, finalizers: [connectedapps.dev/finalizer]}
spec:
  url: https://localhost:1
  credentials: {type: ServiceAccount, clientID: connectedapps-manager}
  deletionTimeout: 1s
  access:
  - {name: all, namespaceSelector: {}, grantTypes: [client_credentials]}
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: gitproxy, namespace: payments, finalizers: [connectedapps.dev/finalizer]}
spec:
  grantTypes: [client_credentials]
`

// removal is an installation that is taken away as docs/helm.md says.
type removal struct {
	helm
	// deregister and erase are the commands of the page, in its order; letGo are those of
	// docs/removal.md.
	deregister, erase, letGo string
}

// TestNothingIsBeingDeletedForEver in whichever order things are taken away, and
// nothing is left in the end.
func TestNothingIsBeingDeletedForEver(t *testing.T) {
	text, err := os.ReadFile(kubeconfig)
	require.NoError(t, err)
	// A claim waits for the Pods that use it.
	controllers := append([]string{"persistentvolumeclaim-protection-controller"}, controlplane.Collectors...)
	stop, err := controlplane.StartControllerManager(text, controllers)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop()) })
	require.NoError(t, program.Build(folder, "./cmd/manager"))
	blocks := commandsOf(t, "helm.md", "## Uninstall")
	require.Len(t, blocks, 2)
	letGo := commandsOf(t, "removal.md", "## When the manager is gone")
	require.Len(t, letGo, 1)

	h := newHelm(t, "helm4") // what Helm 3 leaves is in TestAReleaseIsUpgradedRolledBackAndUninstalled
	for _, order := range []struct {
		name string
		take func(r removal)
	}{
		{"as the page says", func(r removal) {
			r.manager()
			r.shell(r.deregister)
		}},
		{"the release first, and then it comes back", func(r removal) {
			r.uninstall()
			r.nothingIsBeingDeleted()
			kubectl(r.T, "", "delete", "namespace", "payments", "--wait=false")
			r.install()
			r.manager()
			r.gone("namespace", "payments")
			r.shell(r.deregister)
		}},
		{"the release first, and then the objects", func(r removal) {
			r.uninstall()
			r.nothingIsBeingDeleted()
			kubectl(r.T, "", "delete", "namespace", "payments", "--wait=false")
			r.deleted("connectedapp", "gitproxy", "--namespace=payments")
			r.shell(r.letGo)
			r.gone("namespace", "payments")
			require.Equal(r, "connectedapps.dev/finalizer", kubectl(r.T, "", "get", "tokenserver", "default", "-o", "jsonpath={.metadata.finalizers[*]}"),
				"nobody deleted it")
			kubectl(r.T, "", "delete", "tokenserver", "default", "--wait=false")
			r.shell(r.letGo)
		}},
		{"the namespace of the release first", func(r removal) {
			kubectl(r.T, "", "delete", "namespace", systemNamespace, "--wait=false")
			r.gone("namespace", systemNamespace)
			r.nothingIsBeingDeleted()
			kubectl(r.T, "", "delete", "connectedapps,tokenservers", "--all", "--all-namespaces", "--wait=false")
			r.shell(r.letGo)
			r.install()
			r.uninstall()
		}},
		{"the CRDs with the release", func(r removal) {
			r.run("upgrade", "connectedapps", chartFolder, "--namespace="+systemNamespace, "--set=crds.keep=false")
			r.uninstall()
			r.deleted("connectedapp", "gitproxy", "--namespace=payments")
			r.deleted("tokenserver", "default")
			r.shell(r.letGo)
			r.gone("crd", "connectedapps.connectedapps.dev")
			r.gone("crd", "tokenservers.connectedapps.dev")
		}},
	} {
		t.Run(order.name, func(t *testing.T) {
			r := removal{helm: helm{T: t, path: h.path}, deregister: blocks[0], erase: blocks[1], letGo: letGo[0]}
			r.install()
			kubectl(t, ours, "apply", "--server-side", "-f", "-")
			order.take(r)
			r.shell(strings.ReplaceAll(r.erase, "kubectl delete", "kubectl delete --ignore-not-found"))
			require.Empty(t, leftOf(t, "default"), "nothing is left in the cluster")
			r.gone("namespace", systemNamespace)
			kubectl(t, "", "delete", "namespace", "payments", "--ignore-not-found", "--timeout=2m")
		})
	}
}

func (r removal) install() {
	r.Helper()
	r.run("install", "connectedapps", chartFolder, "--namespace="+systemNamespace, "--create-namespace")
	r.established()
}

func (r removal) uninstall() {
	r.Helper()
	r.run("uninstall", "connectedapps", "--namespace="+systemNamespace)
}

func (r removal) nothingIsBeingDeleted() {
	r.Helper()
	times := kubectl(r.T, "", "get", "crd,namespaces,connectedapps,accesstokens,tokenservers", "-A", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}")
	require.Empty(r, strings.TrimSpace(times))
	kubectl(r.T, "", "get", "connectedapp", "-n", "payments", "gitproxy")
}

func (r removal) gone(kind, name string) {
	r.Helper()
	require.Eventually(r, func() bool {
		return kubectl(r.T, "", "get", kind, name, "--ignore-not-found") == ""
	}, patience, 200*time.Millisecond, "%s %s", kind, name)
}

// deleted waits until somebody's deletion of more has come to an object.
func (r removal) deleted(object ...string) {
	r.Helper()
	require.Eventually(r, func() bool {
		return kubectl(r.T, "", append([]string{"get", "-o", "jsonpath={.metadata.deletionTimestamp}"}, object...)...) != ""
	}, patience, 200*time.Millisecond, "%s", object)
}

// commandsOf are the blocks of commands in a section of a page.
func commandsOf(t *testing.T, page, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", page))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), heading+"\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, match := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, match[1])
	}
	return blocks
}

// manager starts the manager as its Deployment does.
func (r removal) manager() {
	r.Helper()
	config := filepath.Join(r.TempDir(), "kubeconfig")
	text, err := os.ReadFile(kubeconfig)
	require.NoError(r, err)
	require.NoError(r, os.WriteFile(config, text, 0o600))
	token := strings.TrimSpace(kubectl(r.T, "", "create", "token", "-n", systemNamespace, "connectedapps-manager"))
	kubectl(r.T, "", "config", "--kubeconfig="+config, "set-credentials", "manager", "--token="+token)
	current := strings.TrimSpace(kubectl(r.T, "", "config", "current-context"))
	kubectl(r.T, "", "config", "--kubeconfig="+config, "set-context", current, "--user=manager")

	_, container := r.template(systemNamespace, "").deployment(r, "connectedapps-manager")
	args := []string{"--kubeconfig=" + config}
	for _, argument := range container.Args {
		args = append(args, strings.ReplaceAll(argument, "$(POD_NAMESPACE)", systemNamespace))
	}
	args = append(args, "--health-probe-bind-address=0", "--metrics-bind-address=0")
	running := program.Start(r, filepath.Join(folder, "manager"), args...)
	require.Eventually(r, func() bool {
		return kubectl(r.T, "", "get", "secret", "-n", systemNamespace, "tokenserver-tls", "--ignore-not-found") != ""
	}, patience, 200*time.Millisecond, "it works")
	require.NotContains(r, running.Output(), "forbidden", "its roles are enough")
}

// shell runs commands of the page with this version of Helm.
func (r removal) shell(commands string) {
	r.Helper()
	programs := r.TempDir()
	require.NoError(r, os.Symlink(r.path, filepath.Join(programs, "helm")))
	require.NoError(r, os.Symlink(kubectlPath(r.T), filepath.Join(programs, "kubectl")))
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", commands)
	command.Dir = programs // for the files that they write
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+programs+":"+os.Getenv("PATH"))
	command.WaitDelay = time.Second // for what bash started
	out, err := command.CombinedOutput()
	require.NoError(r, err, "%s\n%s", commands, out)
}
