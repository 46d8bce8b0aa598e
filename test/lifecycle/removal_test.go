// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const crds = "crd/connectedapps.connectedapps.dev crd/accesstokens.connectedapps.dev crd/tokenservers.connectedapps.dev"

// removal is an installation that is taken away.
type removal struct {
	*installation
	release *release
}

// What somebody does, without waiting for it to end.
func (r *removal) delete(names string) {
	r.Helper()
	kubectl(r.T, "", append([]string{"delete", "--wait=false"}, strings.Fields(names)...)...)
}

func (r *removal) deleteTeam() { r.delete("namespace/" + r.team) }
func (r *removal) deleteCRDs() { r.delete(crds) }

// deleteSystem takes the Pods too, and the volume.
func (r *removal) deleteSystem() {
	r.delete("namespace/" + systemNamespace)
	r.manager.stop(r.T)
	r.server.stop(r.T)
	r.manager, r.server = nil, nil
	require.NoError(r, os.RemoveAll(r.data))
	require.NoError(r, os.Mkdir(r.data, 0o700))
}

// undeploy runs make undeploy.
func (r *removal) undeploy(variables ...string) (string, error) {
	r.Helper()
	c := exec.CommandContext(r.Context(), "make", append([]string{"undeploy", "KUBECTL=" + kubectlPath, "KUSTOMIZATION=config/default"}, variables...)...)
	c.Dir = root
	c.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "MAKEFLAGS=")
	out, err := c.CombinedOutput()
	r.Logf("make undeploy %s:\n%s", strings.Join(variables, " "), out)
	return string(out), err
}

func (r *removal) mustUndeploy(variables ...string) string {
	r.Helper()
	out, err := r.undeploy(append([]string{"TIMEOUT=120"}, variables...)...)
	require.NoError(r, err, out)
	return out
}

// letGo runs the commands of docs/removal.md that take finalizers away, once all
// objects of some kinds are ending.
func (r *removal) letGo(kinds ...string) {
	r.Helper()
	r.eventually(func(c *require.Assertions) {
		for _, kind := range kinds {
			c.NotContains(kubectl(r.T, "", "get", kind, "--all-namespaces", "-o",
				`go-template={{range .items}}{{or .metadata.deletionTimestamp "stays"}} {{end}}`), "stays")
		}
	})
	r.runScript(r.TempDir(), "## When the manager is gone")
}

// runScript runs the commands below a heading of docs/removal.md in a folder.
func (r *removal) runScript(folder, heading string) {
	r.Helper()
	path := r.TempDir()
	require.NoError(r, os.Symlink(kubectlPath, filepath.Join(path, "kubectl")))
	c := exec.CommandContext(r.Context(), "bash", "-euo", "pipefail", "-c", scriptOf(r.T, "removal.md", heading))
	c.Dir = folder
	c.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+path+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	require.NoError(r, err, "%s", out)
}

// scriptOf is the first block of commands below a heading of docs.
func scriptOf(t *testing.T, page, heading string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), heading+"\n")
	require.True(t, found, heading)
	_, script, found := strings.Cut(section, "```sh\n")
	require.True(t, found, heading)
	script, _, found = strings.Cut(script, "```")
	require.True(t, found, heading)
	return script
}

// requireNothing waits until nothing of the installation is there, and nothing of it
// is ending.
func (r *removal) requireNothing() {
	r.Helper()
	r.eventually(func(c *require.Assertions) {
		for _, namespace := range []string{systemNamespace, r.team} {
			n := &corev1.Namespace{}
			err := r.client.Get(r.Context(), client.ObjectKey{Name: namespace}, n)
			if namespace == r.team && err == nil && n.DeletionTimestamp == nil {
				continue // the team's own
			}
			c.True(apierrors.IsNotFound(err), "namespace %s: %+v", namespace, n.Status.Conditions)
		}
		c.NotContains(kubectl(r.T, "", "get", "-o", "name", "customresourcedefinitions,clusterroles,clusterrolebindings,priorityclasses,"+
			"validatingadmissionpolicies,validatingadmissionpolicybindings"), "connectedapps")
	})
	_, _, _ = tryKubectl(r.T, "", "delete", "namespace", r.team, "--ignore-not-found")
}

// TestARemovalEndsInEveryOrder or says what is left, and how to remove it.
func TestARemovalEndsInEveryOrder(t *testing.T) {
	release, teams := thisRelease(t, "default"), 0
	for name, do := range map[string]func(*removal){
		"make undeploy alone, which says where": func(r *removal) {
			context := strings.TrimSpace(kubectl(r.T, "", "config", "current-context"))
			require.Contains(r, r.mustUndeploy(), "Removing Connected Apps by the context "+context+" from "+r.address()+".\n")
		},
		"a team's namespace, then the commands without make": func(r *removal) {
			r.deleteTeam()
			r.runScript(root, "## Without make")
		},
		"the kinds while the manager runs, then the rest": func(r *removal) {
			r.deleteCRDs()
			r.mustUndeploy()
		},
		"the manager's namespace before make undeploy, which tells what is left": func(r *removal) {
			r.deleteSystem()
			out, err := r.undeploy("TIMEOUT=1")
			require.Error(r, err)
			for _, says := range []string{"ConnectedApp " + r.team + " job ", "No manager runs", "FORCE=1", "docs/removal.md"} {
				require.Contains(r, out, says)
			}
			require.NotEmpty(r, kubectl(r.T, "", "get", "crd", "connectedapps.connectedapps.dev", "-o", "name"), "nothing else is removed")
			require.Contains(r, r.mustUndeploy("FORCE=1", "TIMEOUT=1"), "with clients that stay behind")
		},
		"with something of others in the namespace, which stays": func(r *removal) {
			kubectl(r.T, "", "create", "configmap", "theirs", "-n", systemNamespace)
			kubectl(r.T, "", "create", "deployment", "theirs", "--image=theirs", "-n", systemNamespace)
			out := r.mustUndeploy()
			require.Contains(r, out, "The namespace "+systemNamespace+" stays, for it has what is not of this installation:\n    ConfigMap/theirs\n    Deployment/theirs\n")
			require.Contains(r, out, "kubectl delete namespace "+systemNamespace+"\n")
			left := kubectl(r.T, "", "get", "configmaps,secrets,leases,services,serviceaccounts,deployments,persistentvolumeclaims,networkpolicies", "-n", systemNamespace, "-o", "name")
			// A cluster with all controllers makes these in each namespace.
			left = strings.NewReplacer("configmap/kube-root-ca.crt\n", "", "serviceaccount/default\n", "").Replace(left)
			require.ElementsMatch(r, []string{"configmap/theirs", "deployment.apps/theirs"}, strings.Fields(left))
			kubectl(r.T, "", "delete", "namespace", systemNamespace)
		},
		"objects that others hold, which keep their hold": func(r *removal) {
			const theirs = "example.com/theirs"
			kubectl(r.T, "", "patch", "connectedapp", "job", "-n", r.team, "--type=json", "--patch="+`[{"op":"add","path":"/metadata/finalizers/-","value":"`+theirs+`"}]`)
			finalizers := func(name string) string {
				return kubectl(r.T, "", "get", "connectedapp", name, "-n", r.team, "-o", "jsonpath={.metadata.finalizers[*]}")
			}
			r.deleteSystem()
			r.delete("connectedapp/job --namespace=" + r.team)
			r.runScript(r.TempDir(), "## When the manager is gone")
			require.Equal(r, theirs, finalizers("job"))
			require.Equal(r, "connectedapps.dev/finalizer", finalizers("portal"), "nobody deletes it")
			out, err := r.undeploy("FORCE=1", "TIMEOUT=1")
			require.Error(r, err)
			require.Contains(r, out, "ConnectedApp "+r.team+" job ")
			require.Contains(r, out, "Our finalizer is gone from them")
			require.Equal(r, theirs, finalizers("job"))
			kubectl(r.T, "", "patch", "connectedapp", "job", "-n", r.team, "--type=merge", `--patch={"metadata":{"finalizers":null}}`)
			r.mustUndeploy()
		},
		"all namespaces, then the page": func(r *removal) {
			r.deleteSystem()
			r.deleteTeam()
			r.letGo("connectedapps", "accesstokens")
			r.mustUndeploy("FORCE=1", "TIMEOUT=1") // of the TokenServer
		},
		"the kinds and the manager at once, then the page": func(r *removal) {
			r.manager.stop(r.T)
			r.deleteCRDs()
			r.deleteSystem()
			r.letGo("connectedapps", "accesstokens", "tokenservers")
			r.deleteTeam()
			r.mustUndeploy()
		},
		"all namespaces, and a manager that comes back": func(r *removal) {
			r.deleteSystem()
			r.deleteTeam()
			r.eventually(func(c *require.Assertions) {
				err := r.client.Get(r.Context(), client.ObjectKey{Name: systemNamespace}, &corev1.Namespace{})
				c.True(apierrors.IsNotFound(err), "the manager's namespace ends by itself")
			})
			r.apply(r.release)
			r.run(r.release)
			r.eventually(func(c *require.Assertions) {
				err := r.client.Get(r.Context(), client.ObjectKey{Name: r.team}, &corev1.Namespace{})
				c.True(apierrors.IsNotFound(err), "and the team's with the manager: %s", r.manager)
			})
			r.mustUndeploy()
		},
	} {
		ended := t.Run(name, func(t *testing.T) {
			teams++
			r := &removal{newInstallation(t, fmt.Sprint("removed-", teams)), release}
			r.apply(release)
			r.run(release)
			r.populate()
			do(r)
			r.requireNothing()
		})
		require.True(t, ended, "what is left is in the way of the others")
	}
}
