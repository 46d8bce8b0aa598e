// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

// rules are those of two teams.
func rules() []v1alpha1.AccessRule {
	team := func(name string, scopes ...string) v1alpha1.AccessRule {
		r := v1alpha1.AccessRule{
			Name: name, NamespaceSelector: v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": v1alpha1.LabelValue(name)}},
			GrantTypes:    []v1alpha1.GrantType{"client_credentials", "authorization_code"},
			RedirectHosts: []v1alpha1.RedirectHost{v1alpha1.RedirectHost("*." + name + ".example.com")},
		}
		for _, s := range scopes {
			r.Scopes = append(r.Scopes, v1alpha1.AccessScope{Scope: s})
		}
		return r
	}
	return []v1alpha1.AccessRule{team("payments", "view:*"), team("orders", "orders:*")}
}

// team is a namespace of a team, a tenant of it, and a TokenServer with rules.
type team struct {
	client.Client
	namespace string
	server    *v1alpha1.TokenServer
}

func payments(t *testing.T) team {
	t.Helper()
	namespace := plane.Namespace(t, map[string]string{"team": "payments"})
	p := team{Client: tenant(t, namespace), namespace: namespace, server: tokenServer(t, rules()...)}
	settle(t)
	return p
}

func (p team) app(change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	return testenv.App(p.namespace, p.server.Name, change...)
}

// tighten takes all rules away, and waits until admission knows.
func (p team) tighten(t *testing.T) {
	t.Helper()
	p.server.Spec.Access = nil
	require.NoError(t, plane.Client.Update(t.Context(), p.server))
	settle(t)
}

// created is an app that is there.
func (p team) created(t *testing.T, change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	t.Helper()
	a := p.app(change...)
	require.NoError(t, p.Create(t.Context(), a))
	t.Cleanup(func() {
		_ = plane.Client.Patch(context.Background(), a, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
		_ = plane.Client.Delete(context.Background(), a)
	})
	return a
}

func scope(name string) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) { a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: name}} }
}

func redirect(uri v1alpha1.RedirectURI) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) {
		a.Spec.GrantTypes, a.Spec.Scopes = []v1alpha1.GrantType{"authorization_code"}, nil
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{uri}
	}
}

func merge(format string, args ...any) client.Patch {
	return client.RawPatch(types.MergePatchType, fmt.Appendf(nil, format, args...))
}

const nearest = "the nearest, payments, does not allow "

func TestATenantGetsNothingOfAnotherTeam(t *testing.T) {
	t.Parallel()
	p := payments(t)
	requireRefused(t, p.Create(t.Context(), p.app(scope("orders:write"))),
		"no access rule of TokenServer %s allows all of the app; %sscope orders:write (rule payments allows view:*)", p.server.Name, nearest)
	requireRefused(t, p.Create(t.Context(), p.app(redirect("https://app.orders.example.com/"))),
		"redirect URI https://app.orders.example.com/ (rule payments allows *.payments.example.com)")
	requireRefused(t, p.Create(t.Context(), p.app(redirect("https://evilpayments.example.com/"))), "redirect URI https://evilpayments.example.com/")
	requireRefused(t, p.Create(t.Context(), p.app(scope("full")), client.DryRunAll), "%sscope full", nearest)
	requireRefused(t, p.Create(t.Context(), p.app(scope("full"), func(a *v1alpha1.ConnectedApp) { a.Name, a.GenerateName = "", "app-" })), "%sscope full", nearest)

	// Labels and annotations of the app are not those of its namespace; what a tenant
	// claims of its state is not believed.
	requireRefused(t, p.Create(t.Context(), p.app(scope("orders:write"), func(a *v1alpha1.ConnectedApp) {
		a.Labels = map[string]string{"team": "orders", "kubernetes.io/metadata.name": "orders"}
		a.DeletionTimestamp, a.DeletionGracePeriodSeconds = new(metav1.Now()), new(int64(0))
		a.Finalizers = []string{v1alpha1.Finalizer}
		a.Status.ObservedGeneration = 1
	})), "%sscope orders:write", nearest)

	applied := &v1alpha1.ConnectedApp{}
	for _, force := range []string{"true", "false"} {
		err := p.Patch(t.Context(), p.app(), client.RawPatch(types.ApplyPatchType, fmt.Appendf(nil,
			`{"apiVersion": "connectedapps.dev/v1alpha1", "kind": "ConnectedApp", "metadata": {"name": "app", "namespace": %q},
			"spec": {"tokenServerRef": {"name": %q}, "grantTypes": ["client_credentials"], "scopes": [{"scope": "orders:read"}]}}`, p.namespace, p.server.Name)),
			&client.PatchOptions{FieldManager: "tenant", Force: new(force == "true")})
		requireRefused(t, err, "%sscope orders:read", nearest)
	}
	require.True(t, apierrors.IsNotFound(p.Get(t.Context(), client.ObjectKeyFromObject(p.app()), applied)), "nothing was made")
}

// A tenant who may write everything in a namespace still has no say about the
// namespace, its neighbours, the rules and the policy.
func TestATenantCannotMoveTheFence(t *testing.T) {
	t.Parallel()
	p := payments(t)
	other := plane.Namespace(t, map[string]string{"team": "orders"})
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.namespace}}
	for what, err := range map[string]error{
		"the namespace's labels": p.Patch(t.Context(), namespace, merge(`{"metadata":{"labels":{"team":"orders"}}}`)),
		"the rules":              p.Patch(t.Context(), p.server.DeepCopy(), merge(`{"spec":{"access":[]}}`)),
		"the server's status":    p.Status().Patch(t.Context(), p.server.DeepCopy(), merge(`{"status":{"organizationID":"x"}}`)),
		"another namespace":      p.Create(t.Context(), testenv.App(other, p.server.Name, scope("orders:write"))),
		"a TokenServer":          p.Create(t.Context(), &v1alpha1.TokenServer{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Spec: p.server.Spec}),
		"the binding":            p.Delete(t.Context(), policyObjects(t)[1]),
		"the policy":             p.Delete(t.Context(), policyObjects(t)[0]),
	} {
		require.True(t, apierrors.IsForbidden(err), "%s: %v", what, err)
		require.NotContains(t, err.Error(), "ValidatingAdmissionPolicy '", what)
	}
}

func TestATenantGetsNoMoreInTwoSteps(t *testing.T) {
	t.Parallel()
	p := payments(t)
	a := p.created(t, scope("view:clients"))
	requireRefused(t, p.Patch(t.Context(), a.DeepCopy(), merge(`{"spec":{"scopes":[{"scope":"view:clients"},{"scope":"orders:write"}]}}`)), "%sscope orders:write", nearest)
	requireRefused(t, p.Patch(t.Context(), a.DeepCopy(), merge(`{"spec":{"scopes":[{"scope":"full"}]}}`), client.DryRunAll), "%sscope full", nearest)
	requireRefused(t, p.Patch(t.Context(), a.DeepCopy(), merge(`{"spec":{"deletionPolicy":"Orphan","audience":"everyone"}}`)), "audience everyone (rule payments allows internal)")
	// A deletion that is only said to be one is none: nobody can say so.
	err := p.Patch(t.Context(), a.DeepCopy(), merge(`{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"scopes":[{"scope":"full"}]}}`))
	require.True(t, apierrors.IsInvalid(err), "%v", err)
	require.ErrorContains(t, err, "metadata.deletionTimestamp")

	// The way past the policy, by /status, changes no spec.
	require.NoError(t, p.Status().Patch(t.Context(), a.DeepCopy(), merge(`{"spec":{"scopes":[{"scope":"full"}]},"status":{"observedGeneration":1}}`)))
	require.NoError(t, p.Get(t.Context(), client.ObjectKeyFromObject(a), a))
	require.Equal(t, []v1alpha1.ScopeAssignment{{Scope: "view:clients"}}, a.Spec.Scopes)
	// Nor do the server's name and the object's own.
	other := tokenServer(t, testenv.AllowAll("all"))
	settle(t)
	err = p.Patch(t.Context(), a.DeepCopy(), merge(`{"spec":{"tokenServerRef":{"name":%q},"scopes":[{"scope":"full"}]}}`, other.Name))
	require.True(t, apierrors.IsInvalid(err), "%v", err)
	require.NoError(t, p.Patch(t.Context(), a, merge(`{"spec":{"scopes":[{"scope":"view:environment"}]}}`)), "what is allowed may change")
}

// Rules that became stricter are the manager's to carry out. They keep nobody from
// working with what is there, nor from letting it go.
func TestStricterRulesHinderOnlyChangesOfTheSpec(t *testing.T) {
	t.Parallel()
	p := payments(t)
	a := p.created(t, func(a *v1alpha1.ConnectedApp) { a.Finalizers = []string{v1alpha1.Finalizer} })
	p.tighten(t)
	requireRefused(t, p.Patch(t.Context(), a.DeepCopy(), merge(`{"spec":{"clientName":"x"}}`)), "TokenServer %s has no access rules", p.server.Name)

	require.NoError(t, p.Patch(t.Context(), a, merge(`{"metadata":{"labels":{"a":"b"},"annotations":{"a":"b"}}}`)))
	require.NoError(t, p.Status().Patch(t.Context(), a, merge(`{"status":{"observedGeneration":1}}`)))
	require.NoError(t, p.Update(t.Context(), a), "the same again")
	require.NoError(t, p.Delete(t.Context(), a))
	require.NoError(t, p.Patch(t.Context(), a, merge(`{"spec":{"suspend":true}}`)), "what is being deleted may change")
	require.NoError(t, p.Patch(t.Context(), a, merge(`{"metadata":{"finalizers":null}}`)))
	require.True(t, apierrors.IsNotFound(p.Get(t.Context(), client.ObjectKeyFromObject(a), a)))
}

func TestAnAppIsJudgedByItsOwnTokenServer(t *testing.T) {
	t.Parallel()
	p := payments(t)
	generous := tokenServer(t, testenv.AllowAll("all"))
	settle(t)
	on := func(name string) func(*v1alpha1.ConnectedApp) {
		return func(a *v1alpha1.ConnectedApp) { a.Spec.TokenServerRef.Name = name }
	}
	require.NoError(t, p.Create(t.Context(), p.app(scope("full"), on(generous.Name)), client.DryRunAll))
	requireRefused(t, p.Create(t.Context(), p.app(scope("full")), client.DryRunAll), "TokenServer %s", p.server.Name)
	// A TokenServer may come after its apps: the manager says TokenServerNotFound.
	require.NoError(t, p.Create(t.Context(), p.app(scope("full"), on("not-there-yet")), client.DryRunAll))
	require.NoError(t, p.Create(t.Context(), p.app(scope("full"), func(a *v1alpha1.ConnectedApp) { a.Spec.TokenServerRef = nil }), client.DryRunAll))

	// One that is being deleted has its rules until it is gone.
	require.NoError(t, plane.Client.Patch(t.Context(), p.server, merge(`{"metadata":{"finalizers":["connectedapps.dev/test"]}}`)))
	require.NoError(t, plane.Client.Delete(t.Context(), p.server))
	settle(t)
	requireRefused(t, p.Create(t.Context(), p.app(scope("full")), client.DryRunAll), "TokenServer %s", p.server.Name)
	require.NoError(t, p.Create(t.Context(), p.app(), client.DryRunAll))
	require.NoError(t, plane.Client.Patch(t.Context(), p.server, merge(`{"metadata":{"finalizers":null}}`)))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(p.Create(t.Context(), p.app(scope("full")), client.DryRunAll))
	})
}

// Labels of a namespace that the platform team changes count from then on.
func TestANamespaceThatIsLabelledDifferently(t *testing.T) {
	t.Parallel()
	p := payments(t)
	a := p.created(t)
	require.NoError(t, plane.Client.Patch(t.Context(), plane.ReadNamespace(t, p.namespace), merge(`{"metadata":{"labels":{"team":"orders"}}}`)))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.ErrorContains(p.Patch(t.Context(), a.DeepCopy(), merge(`{"spec":{"clientName":"x"}}`)), "the nearest, orders, does not allow scope view:environment")
	})
	require.NoError(t, p.Patch(t.Context(), a, merge(`{"spec":{"scopes":[{"scope":"orders:write"}]}}`)))
}
