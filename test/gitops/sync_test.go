// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// tool keeps a repository as Argo CD or Flux does, with the API server's part of it:
// under its name, by server-side apply with force, and what left the repository is
// deleted.
type tool struct {
	*testing.T
	manager   string
	kubectl   *testenv.Kubectl
	instance  *tokenservertest.Instance
	server    *v1alpha1.TokenServer
	namespace string
	// applied is what the last sync had, by reference.
	applied map[string]status.Object
	// prunesFirst deletes before it applies.
	prunesFirst bool
}

const argocd, flux = "argocd-controller", "kustomize-controller"

// eachTool runs a test with both, each with a namespace and a token server of its
// own.
func eachTool(t *testing.T, test func(*tool)) {
	t.Helper()
	t.Parallel()
	for name, manager := range map[string]string{"Argo CD": argocd, "Flux": flux} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plane.ShareManager(t)
			plane.ShareCollector(t)
			instance := tokenservertest.Start(t)
			test(&tool{
				T: t, manager: manager, kubectl: plane.Kubectl(t), instance: instance,
				server: plane.TokenServer(t, instance), namespace: plane.Namespace(t, nil),
			})
		})
	}
}

// app is one of the repository, named like its client.
func (k *tool) app(name string) *v1alpha1.ConnectedApp {
	app := testenv.App(k.namespace, k.server.Name)
	app.Name, app.Spec.ClientName = name, name
	return app
}

// token is one of an app.
func (k *tool) token(app string) *v1alpha1.AccessToken {
	token := &v1alpha1.AccessToken{}
	token.Namespace, token.Name, token.Spec.ConnectedAppRef.Name = k.namespace, app, app
	return token
}

// sync makes the cluster as the repository is now.
func (k *tool) sync(objects ...status.Object) {
	k.Helper()
	now := map[string]status.Object{}
	for _, o := range objects {
		now[reference(o)] = o
	}
	prune := func() {
		for name, o := range k.applied {
			if now[name] == nil {
				require.NoError(k, client.IgnoreNotFound(plane.Client.Delete(k.Context(), o.DeepCopyObject().(client.Object))))
			}
		}
	}
	if k.prunesFirst {
		prune()
	}
	for _, o := range objects {
		if k.manager == flux {
			k.takeOver(o)
		}
		k.kubectl.Run(k, manifests(k, o), append([]string{"apply", "-f", "-"}, k.flags()...)...)
	}
	if !k.prunesFirst {
		prune()
	}
	k.applied = now
}

func (k *tool) flags() []string {
	return []string{"--server-side", "--force-conflicts", "--field-manager=" + k.manager}
}

// takeOver gives Flux the fields that somebody wrote with kubectl, as Flux does
// before it applies, so that those which the repository does not have go.
func (k *tool) takeOver(o client.Object) {
	k.Helper()
	live, _ := o.DeepCopyObject().(client.Object)
	err := plane.Client.Get(k.Context(), client.ObjectKeyFromObject(o), live)
	if apierrors.IsNotFound(err) {
		return
	}
	require.NoError(k, err)
	entries, found := live.GetManagedFields(), false
	for i := range entries {
		if strings.HasPrefix(entries[i].Manager, "kubectl") && entries[i].Subresource == "" {
			entries[i].Manager, entries[i].Operation, found = k.manager, metav1.ManagedFieldsOperationApply, true
		}
	}
	if !found {
		return
	}
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/metadata/managedFields", "value": entries}})
	require.NoError(k, err)
	require.NoError(k, plane.Client.Patch(k.Context(), live, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(k.manager)))
}

// eventually waits until the tool shows an object so.
func (k *tool) eventually(want shown, objects ...status.Object) {
	k.Helper()
	for _, o := range objects {
		testenv.Eventually(k, func(c *require.Assertions) {
			live := k.read(o)
			c.Equal(want, tools(k, live), "%s: %+v", reference(o), live)
		})
	}
}

// read reads an object as it is.
func (k *tool) read(o status.Object) status.Object {
	k.Helper()
	live, _ := o.DeepCopyObject().(status.Object)
	require.NoError(k, plane.Client.Get(k.Context(), client.ObjectKeyFromObject(o), live))
	return live
}

// gone waits until an object is not there.
func (k *tool) gone(o client.Object) {
	k.Helper()
	testenv.Eventually(k, func(c *require.Assertions) {
		live, _ := o.DeepCopyObject().(client.Object)
		c.True(apierrors.IsNotFound(plane.Client.Get(k.Context(), client.ObjectKeyFromObject(o), live)), "%s is there", o.GetName())
	})
}

// byHand is what somebody does to an object with kubectl.
func (k *tool) byHand(o client.Object, patch string) {
	k.Helper()
	k.kubectl.Run(k, "", "patch", reference(o), "-n", k.namespace, "--type=merge", "--patch="+patch)
}

// names are those of the clients on the token server.
func (k *tool) names() []string { return slices.Sorted(maps.Keys(clientsOf(k, k.instance))) }

// TestAPruneDeregistersTheClient: what left the repository leaves the token server,
// with its Secret.
func TestAPruneDeregistersTheClient(t *testing.T) {
	eachTool(t, func(k *tool) {
		web, job, token := k.app("web"), k.app("job"), k.token("job")
		k.sync(web, job, token)
		k.eventually(isCurrent, web, job, token)
		require.Equal(k, []string{"job", "web"}, k.names())

		k.sync(web)
		k.gone(job)
		k.gone(token)
		require.Equal(k, []string{"web"}, k.names())
		for _, name := range []string{"job-credentials", "job-token"} {
			k.gone(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: name}})
		}
		k.eventually(isCurrent, web)
	})
}

// TestAHandEditIsHealedAndNobodyFights: a sync takes a field back, the client follows,
// and from then on nobody writes anything.
func TestAHandEditIsHealedAndNobodyFights(t *testing.T) {
	eachTool(t, func(k *tool) {
		app, token := k.app("web"), k.token("web")
		k.sync(app, token)
		k.eventually(isCurrent, app, token)
		// The manager has written: that is in nobody's way.
		k.kubectl.Run(k, manifests(k, app, token), "apply", "--server-side", "--field-manager="+k.manager, "-f", "-")
		id, before := k.read(app).(*v1alpha1.ConnectedApp).Status.ClientID, k.desired(app)

		k.byHand(app, `{"spec":{"clientName":"by hand"}}`)
		testenv.Eventually(k, func(c *require.Assertions) { c.Equal([]string{"by hand"}, k.names()) })
		k.sync(app, token)
		testenv.Eventually(k, func(c *require.Assertions) { c.Equal([]string{"web"}, k.names()) })
		k.eventually(isCurrent, app, token)
		require.Equal(k, before, k.desired(app))
		require.Equal(k, id, k.read(app).(*v1alpha1.ConnectedApp).Status.ClientID)

		requireUnchanged(k, k.kubectl, manifests(k, app, token), k.flags(), app, token)
	})
}

// desired is all of an object but its status, with who has which field, and since
// when not.
func (k *tool) desired(o status.Object) string {
	k.Helper()
	live := k.read(o)
	live.SetResourceVersion("")
	live.SetGeneration(0)
	entries := live.GetManagedFields()
	entries = slices.DeleteFunc(entries, func(e metav1.ManagedFieldsEntry) bool { return e.Subresource == "status" })
	for i := range entries {
		entries[i].Time = nil
	}
	slices.SortFunc(entries, func(a, b metav1.ManagedFieldsEntry) int { return strings.Compare(a.Manager, b.Manager) })
	live.SetManagedFields(entries)
	content := unstructuredOf(k, live)
	delete(content, "status")
	data, err := json.Marshal(content)
	require.NoError(k, err)
	return string(data)
}

// TestSuspended: by the repository as by hand, and what a sync makes of the latter.
func TestSuspended(t *testing.T) {
	eachTool(t, func(k *tool) {
		app, token := k.app("web"), k.token("web")
		app.Spec.Suspend, token.Spec.Suspend = new(true), new(true)
		k.sync(app, token)
		k.eventually(isSuspended, app, token)
		require.Empty(k, k.names(), "nothing is registered")
		requireUnchanged(k, k.kubectl, manifests(k, app, token), k.flags(), app, token)

		app.Spec.Suspend, token.Spec.Suspend = nil, nil
		k.sync(app, token)
		k.eventually(isCurrent, app, token)

		k.byHand(app, `{"spec":{"suspend":true}}`)
		k.eventually(isSuspended, app)
		app.Spec.ClientName = "renamed"
		k.sync(app, token)
		if k.manager == flux { // takes the field off, which the repository does not have
			k.eventually(isCurrent, app)
			testenv.Eventually(k, func(c *require.Assertions) { c.Equal([]string{"renamed"}, k.names()) })
			return
		}
		k.eventually(isSuspended, app)
		require.Equal(k, []string{"web"}, k.names(), "what the repository says waits for the end of it")
		k.byHand(app, `{"spec":{"suspend":null}}`)
		testenv.Eventually(k, func(c *require.Assertions) { c.Equal([]string{"renamed"}, k.names()) })
	})
}

// TestARenameIsAnotherClient: in one sync one app goes and another comes, whichever
// first; with a Secret of its own, or with the one of before.
func TestARenameIsAnotherClient(t *testing.T) {
	for order, prunesFirst := range map[string]bool{"applied, then pruned": false, "pruned, then applied": true} {
		t.Run(order, func(t *testing.T) {
			eachTool(t, func(k *tool) {
				k.prunesFirst = prunesFirst
				own, kept := k.app("own"), k.app("kept")
				kept.Spec.Credentials = &v1alpha1.Credentials{
					Type: v1alpha1.CredentialsSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "shop-credentials"},
				}
				k.sync(own, kept)
				k.eventually(isCurrent, own, kept)
				before := clientsOf(k, k.instance)

				ownNow, keptNow := k.app("own-now"), k.app("kept-now")
				keptNow.Spec.Credentials = kept.Spec.Credentials
				k.sync(ownNow, keptNow)
				k.eventually(isCurrent, ownNow, keptNow)
				k.gone(own)
				k.gone(kept)
				require.Equal(k, []string{"kept-now", "own-now"}, k.names())
				for name, id := range clientsOf(k, k.instance) {
					require.NotContains(k, slices.Collect(maps.Values(before)), id, name)
				}
				k.gone(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: "own-credentials"}})
				for name, app := range map[string]string{"own-now-credentials": "own-now", "shop-credentials": "kept-now"} {
					secret := &corev1.Secret{}
					require.NoError(k, plane.Client.Get(k.Context(), client.ObjectKey{Namespace: k.namespace, Name: name}, secret))
					require.Equal(k, clientsOf(k, k.instance)[app], string(secret.Data["client-id"]), name)
				}
			})
		})
	}
}
