// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// startPlain starts a world whose server has none of our extensions: no client
// bears a mark there.
func startPlain(t *testing.T) *world {
	t.Helper()
	w := start(t, tokenservertest.WithMiddleware(withoutExtensions))
	w.plain = true
	return w
}

func named(name string) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) { a.Name = name }
}

// Whoever may write a status makes nothing of another app's client where no mark
// tells whose it is.
func TestAStatusIsNoProofOnAPlainPlatform(t *testing.T) {
	w := startPlain(t)
	victim := w.ready(w.app(named("victim")))
	before := w.registered(victim)
	for name, attack := range map[string]func(*v1alpha1.ConnectedApp){
		"changed":                             func(a *v1alpha1.ConnectedApp) { a.Spec.ClientName = "hijacked" },
		"deleted":                             func(a *v1alpha1.ConnectedApp) { require.NoError(t, plane.Client.Delete(t.Context(), a)) },
		"deleted, of the same name":           func(a *v1alpha1.ConnectedApp) { a.Spec.ClientName = before.Name },
		"left by an Orphan":                   func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan },
		"adopted, by the annotation":          adopts(victim.Status.ClientID),
		"given the secret of somebody else's": fromVault("guess"),
	} {
		t.Run(name, func(t *testing.T) {
			inner := *w
			inner.T, inner.namespace = t, plane.Namespace(t, nil)
			inner.vault("guess", "", "a guess at what it might be")
			mallory := inner.app(named("mallory"), func(a *v1alpha1.ConnectedApp) { a.Spec.Suspend = new(true) })
			testenv.Eventually(t, func(c *require.Assertions) {
				c.NoError(inner.read(mallory))
				mallory.Status = *victim.Status.DeepCopy()
				c.NoError(plane.Client.Status().Update(t.Context(), mallory))
			})
			if name != "deleted" {
				inner.update(mallory, func() { mallory.Spec.Suspend = nil; attack(mallory) })
				stalled := inner.condition(mallory, v1alpha1.ConditionStalled, inner.reasonOf(mallory))
				require.Equal(t, metav1.ConditionTrue, testenv.Condition(stalled.Status.Conditions, v1alpha1.ConditionStalled).Status)
			}
			inner.deleted(mallory)
			after := w.stored(victim.Status.ClientID)
			require.Equal(t, before.Name, after.Name)
			require.True(t, after.Enabled)
			w.requireWorks(w.secret("victim-credentials"))
		})
	}
}

// reasonOf is why the plan leaves an app alone that has another's client.
func (w *world) reasonOf(app *v1alpha1.ConnectedApp) string {
	if app.Annotations[v1alpha1.AnnotationAdoptClientID] != "" {
		return v1alpha1.ReasonAdoptionRefused
	}
	return v1alpha1.ReasonOwnedElsewhere
}

// A client is deleted whatever it is called by then: an edit may not have reached
// it, or somebody else called it something.
func TestAClientIsDeletedWhateverItsName(t *testing.T) {
	for name, plain := range map[string]bool{"our server": false, "a plain platform": true} {
		t.Run(name, func(t *testing.T) {
			faults := &trouble{}
			w := start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
				if plain {
					next = withoutExtensions(next)
				}
				return faults.middleware(next)
			}))
			w.plain = plain
			w.update(w.server, func() { w.server.Spec.DeletionTimeout = &metav1.Duration{Duration: time.Second} })
			app := w.ready(w.app())
			id := app.Status.ClientID
			faults.begin(say(503, "application/json", `{"status":503,"message":"away"}`))
			w.update(app, func() { app.Spec.ClientName = "an edit that does not get through" })
			w.deleted(app)
			w.stored(id)
			faults.end()
			testenv.Eventually(t, func(c *require.Assertions) { c.Empty(w.clients()) })
			testenv.Eventually(t, func(c *require.Assertions) { c.Zero(w.remembered(app)) })
		})
	}
}

// Whose a client is comes back when its memory is lost: the credentials in the
// Secret tell. Without them it is left alone.
func TestLostMemoryOfAClientComesBack(t *testing.T) {
	w := startPlain(t)
	own, theirs, bare := w.app(named("own")), w.app(named("theirs"), fromVault("vault")), w.app(named("bare"))
	w.vault("vault", "", "chosen-by-somebody-else-1")
	apps := []*v1alpha1.ConnectedApp{own, theirs, bare}
	ids := map[string]string{}
	for _, app := range apps {
		ids[app.Name] = w.ready(app).Status.ClientID
		w.update(app, func() { app.Spec.Suspend = new(true) })
		w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended)
	}
	require.NoError(t, plane.Client.Delete(t.Context(), w.secret("bare-credentials")))
	for _, app := range apps {
		require.Equal(t, 1, w.remembered(app), app.Name)
		require.NoError(t, plane.Client.DeleteAllOf(t.Context(), &corev1.ConfigMap{}, client.InNamespace(testenv.SystemNamespace),
			client.MatchingLabels{v1alpha1.LabelClientOwner: string(app.UID)}))
		w.update(app, func() { app.Spec.Suspend, app.Spec.ClientName = nil, app.Name+" edited" })
	}
	for _, app := range apps[:2] {
		testenv.Eventually(t, func(c *require.Assertions) { c.Equal(app.Name+" edited", w.registered(app).Name) })
		require.Equal(t, ids[app.Name], w.ready(app).Status.ClientID)
		require.Equal(t, 1, w.remembered(app), app.Name)
	}
	w.condition(bare, v1alpha1.ConditionStalled, v1alpha1.ReasonOwnedElsewhere)
	require.Contains(t, testenv.Condition(bare.Status.Conditions, v1alpha1.ConditionReady).Message, "nothing proves that it is this one's")
	require.Len(t, w.clients(), 3, "none was made in its place")
}
