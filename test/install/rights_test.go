// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

// granted are the rights of the manager's ServiceAccount by role: the same role
// in several namespaces is one.
type granted map[string][]right

// grantedRights follows all bindings of the manager's ServiceAccount.
func grantedRights(t *testing.T, c client.Client) granted {
	t.Helper()
	ours := func(subjects []rbacv1.Subject) bool {
		return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
			return s.Kind == "ServiceAccount" && s.Name == "connectedapps-manager" && s.Namespace == systemNamespace
		})
	}
	rights := granted{}
	add := func(ref rbacv1.RoleRef, namespace string) {
		var rules []rbacv1.PolicyRule
		if ref.Kind == "ClusterRole" {
			role := &rbacv1.ClusterRole{}
			require.NoError(t, c.Get(t.Context(), client.ObjectKey{Name: ref.Name}, role))
			rules = role.Rules
		} else {
			role := &rbacv1.Role{}
			require.NoError(t, c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: ref.Name}, role))
			rules = role.Rules
		}
		name := ref.Kind + " " + ref.Name
		rights[name] = append(rights[name], rightsOf(rules, namespace)...)
	}
	var everywhere rbacv1.ClusterRoleBindingList
	require.NoError(t, c.List(t.Context(), &everywhere))
	for _, b := range everywhere.Items {
		if ours(b.Subjects) {
			add(b.RoleRef, "")
		}
	}
	var somewhere rbacv1.RoleBindingList
	require.NoError(t, c.List(t.Context(), &somewhere))
	for _, b := range somewhere.Items {
		if ours(b.Subjects) {
			add(b.RoleRef, b.Namespace)
		}
	}
	return rights
}

func rightsOf(rules []rbacv1.PolicyRule, namespace string) []right {
	var rights []right
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, name := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, object := range names {
						rights = append(rights, right{resource: group + "/" + name, verb: verb, name: object, namespace: namespace})
					}
				}
			}
		}
	}
	return rights
}

// requireNothingTwice fails when a role grants what another one, or another rule
// of it, grants in the same place.
func (g granted) requireNothingTwice(t *testing.T) {
	t.Helper()
	var all []right
	for _, rights := range g {
		all = append(all, rights...)
	}
	for i, r := range all {
		for j, other := range all {
			require.False(t, i != j && other.covers(r), "%s is granted twice", r)
		}
	}
}

// requireUsed fails when a role grants, in all its places, what was not used.
func (g granted) requireUsed(t *testing.T, used map[right]bool) {
	t.Helper()
	var unused []string
	for role, rights := range g {
		done := map[right]bool{}
		for _, r := range rights {
			anywhere := r
			anywhere.namespace = ""
			for u := range used {
				done[anywhere] = done[anywhere] || r.covers(u)
			}
		}
		for r, was := range done {
			if !was {
				unused = append(unused, role+": "+r.String())
			}
		}
	}
	slices.Sort(unused)
	require.Empty(t, unused, "rights that a manager never uses")
}

func requireNone(t *testing.T, refused map[right]bool) {
	t.Helper()
	for r := range refused {
		require.Fail(t, "the manager may not do what it tries: "+r.String())
	}
}

// reader is a ServiceAccount that may read metrics.
func reader(t *testing.T) (token string) {
	t.Helper()
	kubectl(t, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: connectedapps-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: connectedapps-metrics-reader}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: connectedapps-system}]
`, "apply", "--server-side", "-f", "-")
	return tokenOf(t, "prometheus")
}

// liveWithAPair goes through a life with two managers, of which the second takes
// over at the end, and returns the rights they used and those they lacked.
func liveWithAPair(t *testing.T, l *life, c *cluster) (used, refused map[right]bool) {
	t.Helper()
	// As in a cluster that had no manager before.
	kubectl(t, "", "delete", "-n", systemNamespace, "lease", "--all")
	l.after = auditSize(t)
	scraper := reader(t)
	first := c.start(t)
	authority := l.secret(systemNamespace, "tokenserver-tls", exists).Data["ca.crt"]
	eventually(t, func(c *require.Assertions) { c.True(leads(first.scrape(t, scraper))) })
	second := c.start(t, withLists)
	l.begin()
	l.hurry()
	l.loseKeys()
	l.live()

	eventually(t, func(c *require.Assertions) {
		c.True(counts(first.scrape(t, scraper)), "the leader counts objects")
	})
	eventually(t, func(c *require.Assertions) {
		waiting := second.scrape(t, scraper)
		c.Contains(waiting, "leader_election_master_status")
		c.False(leads(waiting))
		c.False(counts(waiting), "the other does not")
	})
	first.stop(t)
	l.breakBundled()
	l.mended(authority)
	eventually(t, func(c *require.Assertions) {
		c.True(counts(second.scrape(t, scraper)), "the second counts when it is the leader")
	})
	l.end()
	second.stop(t)
	return usedRights(t, l.after)
}

// TestTheManagerUsesItsRights runs managers with the roles of an installation
// through the life of objects. What they did is what the roles grant: no more,
// no less.
func TestTheManagerUsesItsRights(t *testing.T) {
	install(t)
	kubectl(t, "", "create", "namespace", "tenant-of-all")
	l := newLife(t, "tenant-of-all")
	rights := grantedRights(t, l.client)
	rights.requireNothingTwice(t)

	used, refused := liveWithAPair(t, l, newCluster(t, config("default")))
	requireNone(t, refused)
	rights.requireUsed(t, used)
}

// namespacesOverlay copies config and makes of its folder namespaced one for the
// given list, as the README says.
func namespacesOverlay(t *testing.T, arguments string, namespaces ...string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(root, "config"))))
	overlay := filepath.Join(dir, "namespaced")
	edit := func(name string, replace map[string]string) {
		data, err := os.ReadFile(filepath.Join(overlay, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(overlay, name), []byte(replaced(t, string(data), replace)), 0o600))
	}
	resources := ""
	for _, namespace := range namespaces {
		require.NoError(t, os.CopyFS(filepath.Join(overlay, namespace), os.DirFS(filepath.Join(overlay, "payments"))))
		edit(filepath.Join(namespace, "kustomization.yaml"), map[string]string{"namespace: payments": "namespace: " + namespace})
		resources += "- " + namespace + "\n"
	}
	edit("kustomization.yaml", map[string]string{"- payments\n": resources, "--namespaces=payments": "--namespaces=" + arguments})
	return overlay
}

// replaced is text with each of the keys, which are all in it, replaced.
func replaced(t *testing.T, text string, replace map[string]string) string {
	t.Helper()
	for before, after := range replace {
		require.Contains(t, text, before)
		text = strings.ReplaceAll(text, before, after)
	}
	return text
}

// TestWithAListOfNamespaces installs the manager for two namespaces; a third is
// listed without its Role, a fourth is not listed.
func TestWithAListOfNamespaces(t *testing.T) {
	install(t)
	defer install(t) // for the tests after this one
	kubectl(t, "", "delete", "clusterrole,clusterrolebinding", "connectedapps-manager-tenant-role", "connectedapps-manager-tenant-rolebinding", "--ignore-not-found")
	for _, name := range []string{"listed", "listed-too", "late", "unlisted"} {
		kubectl(t, "", "create", "namespace", name)
	}
	overlay := namespacesOverlay(t, "listed,listed-too,late", "listed", "listed-too")
	kubectl(t, "", "apply", "--server-side", "-k", overlay)
	l := newLife(t, "listed")
	rights := grantedRights(t, l.client)
	rights.requireNothingTwice(t)
	requireNoSecretsEverywhere(t, rights)

	c := newCluster(t, overlay)
	used, refused := liveWithAPair(t, l, c)
	requireNone(t, refused)
	rights.requireUsed(t, used)
	for r := range used {
		require.NotContains(t, []string{"unlisted", "late"}, r.namespace, r)
	}
	requireRefused(t, c)
	others(t, l, c, overlay)
}

// requireNoSecretsEverywhere: what is granted in the cluster as a whole is about
// TokenServers, namespaces and who reads metrics.
func requireNoSecretsEverywhere(t *testing.T, rights granted) {
	t.Helper()
	var everywhere []string
	for _, list := range rights {
		for _, r := range list {
			if r.namespace == "" && !slices.Contains(everywhere, r.resource) {
				everywhere = append(everywhere, r.resource)
			}
		}
	}
	require.ElementsMatch(t, []string{
		"connectedapps.dev/tokenservers", "connectedapps.dev/tokenservers/status", "/namespaces",
		"authentication.k8s.io/tokenreviews", "authorization.k8s.io/subjectaccessreviews",
	}, everywhere)
}

// requireRefused asks with the manager's own token for Secrets of a namespace
// that is not its business.
func requireRefused(t *testing.T, c *cluster) {
	t.Helper()
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = c.token
	as, err := client.New(config, client.Options{Scheme: testenv.NewScheme()})
	require.NoError(t, err)
	require.NoError(t, as.List(t.Context(), &corev1.SecretList{}, client.InNamespace("listed-too")))
	for _, err := range []error{
		as.List(t.Context(), &corev1.SecretList{}),
		as.List(t.Context(), &corev1.SecretList{}, client.InNamespace("unlisted")),
		as.Get(t.Context(), client.ObjectKey{Namespace: "unlisted", Name: "any"}, &corev1.Secret{}),
		as.List(t.Context(), &v1alpha1.ConnectedAppList{}, client.InNamespace("unlisted")),
	} {
		require.True(t, apierrors.IsForbidden(err), "%v", err)
	}
}

// others are apps in the second namespace of the list, in one whose Role comes
// late, and in one that is not in the list.
func others(t *testing.T, l *life, c *cluster, overlay string) {
	t.Helper()
	m := c.start(t)
	again := newLife(t, "listed-too")
	again.begin()
	apps := map[string]*v1alpha1.ConnectedApp{}
	for _, namespace := range []string{"listed-too", "late", "unlisted"} {
		apps[namespace] = testenv.App(namespace, again.server.Name)
		l.create(apps[namespace])
	}
	l.ready(apps["listed-too"])
	untouched := func(namespace string) {
		app := apps[namespace]
		require.NoError(t, l.client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
		require.Empty(t, app.Finalizers, namespace)
		require.Empty(t, app.Status.ClientID, namespace)
		require.EqualValues(t, -1, app.Status.ObservedGeneration, namespace)
	}
	untouched("late")
	untouched("unlisted")
	require.Contains(t, m.output.String(), `"namespace":"late"`)
	require.Contains(t, m.output.String(), "create it and apply config/rbac/tenant to it, or take it off the list")

	late := filepath.Join(overlay, "late")
	require.NoError(t, os.CopyFS(late, os.DirFS(filepath.Join(overlay, "listed"))))
	file := filepath.Join(late, "kustomization.yaml")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(replaced(t, string(data), map[string]string{"namespace: listed": "namespace: late"})), 0o600))
	kubectl(t, "", "apply", "--server-side", "-k", late)
	require.Error(t, m.wait(t), "it ends, to be started again")
	require.Contains(t, m.output.String(), "namespace late can be served now")
	c.start(t)
	l.ready(apps["late"])
	untouched("unlisted")
	for _, namespace := range []string{"listed-too", "late", "unlisted"} {
		l.delete(apps[namespace])
	}
	again.end()
}
