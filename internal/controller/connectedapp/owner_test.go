// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// startPlain starts a world whose server has none of our extensions: no client
// bears a mark there.
func startPlain(t *testing.T) *world {
	t.Helper()
	w := start(t, tokenservertest.WithMiddleware(tokenservertest.Plain))
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
					next = tokenservertest.Plain(next)
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

// byHand starts a world for tests that run the reconciler themselves: no manager
// does anything between two of their steps.
func byHand(t *testing.T, plain bool, options ...tokenservertest.Option) *world {
	t.Helper()
	if plain {
		options = append([]tokenservertest.Option{tokenservertest.WithMiddleware(tokenservertest.Plain)}, options...)
	}
	w := &world{T: t, plain: plain, instance: tokenservertest.Start(t, options...)}
	w.server, w.namespace = plane.TokenServer(t, w.instance), plane.Namespace(t, nil)
	w.server.Status.OrganizationID = w.instance.OrgID
	return w
}

// forget loses what the manager remembers to be an object's.
func (w *world) forget(app *v1alpha1.ConnectedApp) {
	w.Helper()
	require.Equal(w, 1, w.remembered(app))
	require.NoError(w, plane.Client.DeleteAllOf(w.Context(), &corev1.ConfigMap{}, client.InNamespace(testenv.SystemNamespace),
		client.MatchingLabels{v1alpha1.LabelClientOwner: string(app.UID)}))
}

// The credentials prove whose a client is also to a deletion that comes before
// anything else after the memory was lost.
func TestAClientWhoseMemoryIsLostGoesWithItsApp(t *testing.T) {
	w := byHand(t, true)
	w.vault("vault", "", "chosen-by-somebody-else-1")
	own, theirs := w.app(named("own")), w.app(named("theirs"), fromVault("vault"))
	for _, app := range []*v1alpha1.ConnectedApp{own, theirs} {
		settle(w, app)
		w.forget(app)
		require.NoError(t, plane.Client.Delete(t.Context(), app))
		m := &mortal{left: -1}
		runUntil(t, process(t, m, w), m, app, func() bool { return gone(w, app) })
		require.Empty(t, w.clients(), app.Name)
	}
}

// What the manager remembers of another's client that an edited status names says
// nothing of the app's own.
func TestAStatusThatNamesAnAdoptedClientMakesNoneOfTheOwn(t *testing.T) {
	w := byHand(t, false)
	made := w.handmade("")
	w.allow(made.ClientID)
	adopter := w.app(named("adopter"), adopts(made.ClientID))
	settle(w, adopter)
	app := w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.DriftPolicy = v1alpha1.DriftReport })
	settle(w, app)
	id := app.Status.ClientID
	w.update(app, func() { app.Spec.ClientName = "edited" })
	app.Status.ClientID, app.Status.Compared = made.ClientID, nil
	require.NoError(t, plane.Client.Status().Update(t.Context(), app))
	settle(w, app)
	require.Equal(t, id, app.Status.ClientID)
	require.Equal(t, "edited", w.registered(app).Name, "the edit of the spec is no drift")
}

// Whoever kept the credentials of a client does not keep it from its deletion.
func TestAClientThatWaitsForItsDeletionIsNobodysToTakeOver(t *testing.T) {
	faults, stays := &trouble{}, &atomic.Bool{}
	w := start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return faults.middleware(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if stays.Load() && r.Method == http.MethodDelete {
				say(409, "application/json", `{"status":409,"message":"not now"}`)(rw, r)
				return
			}
			tokenservertest.Plain(next).ServeHTTP(rw, r)
		}))
	}))
	w.plain = true
	w.update(w.server, func() { w.server.Spec.DeletionTimeout = &metav1.Duration{Duration: time.Second} })
	app := w.ready(w.app())
	id, kept := app.Status.ClientID, w.secret("app-credentials")
	w.vault("kept", id, string(kept.Data["client-secret"]))

	stays.Store(true)
	faults.begin(say(503, "application/json", `{"status":503,"message":"away"}`))
	w.deleted(app)
	faults.end()
	next := w.app(named("next"), adopts(id), fromVault("kept"))
	w.condition(next, v1alpha1.ConditionStalled, v1alpha1.ReasonOwnedElsewhere)
	stays.Store(false)
	testenv.Eventually(t, func(c *require.Assertions) { c.Empty(w.clients()) })
	testenv.Eventually(t, func(c *require.Assertions) { c.Zero(w.remembered(app)) })
}

// With Orphan a client that was adopted goes back to whoever had it, also when the
// object goes without its finalizer.
func TestOrphanLeavesNoMemoryOfAnAppWithoutItsFinalizer(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app(adopts(made.ClientID), func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }))
	w.update(app, func() { app.Finalizers = nil })
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) { c.Zero(w.remembered(app)) })
	w.stored(made.ClientID)
}

// A server that fails between the registration of a client in the place of one
// that is gone, and the client's getting the secret of its Secret.
func TestAClientMadeAnewGetsItsExistingSecretAfterAFailure(t *testing.T) {
	fails := &atomic.Bool{}
	w := byHand(t, true, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if fails.Load() && r.Method == http.MethodPatch {
				say(503, "application/json", `{"status":503,"message":"away"}`)(rw, r)
				return
			}
			tokenservertest.Plain(next).ServeHTTP(rw, r)
		})
	}))
	w.vault("vault", "", "chosen-by-somebody-else-1")
	app := w.app(fromVault("vault"))
	settle(w, app)
	id := app.Status.ClientID
	_, err := w.instance.Store.DeleteApp(t.Context(), id, time.Now())
	require.NoError(t, err)
	fails.Store(true)
	_, err = process(t, &mortal{left: -1}, w).Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(app)})
	require.Error(t, err)
	fails.Store(false)
	settle(w, app)
	require.NotEqual(t, id, app.Status.ClientID)
	requireToken(t, w.instance.URL+oauth.PathToken, app.Status.ClientID, "chosen-by-somebody-else-1")
}

// A server that was moved has another issuer and the same clients, whether they
// bear a mark or not. Of a move that was cut off nothing is left either.
func TestAMoveOfAServerLeavesEveryClientItsApps(t *testing.T) {
	for name, plain := range map[string]bool{"our server": false, "a plain platform": true} {
		t.Run(name, func(t *testing.T) {
			w := byHand(t, plain)
			moves := func(change ...func(*v1alpha1.ConnectedApp)) (*v1alpha1.ConnectedApp, string) {
				made := w.handmade("")
				w.vault("of-"+made.ClientID[:8], made.ClientID, made.ClientSecret)
				app := w.app(append(change, named("app-"+made.ClientID[:8]), fromVault("of-"+made.ClientID[:8]), adopts(made.ClientID))...)
				settle(w, app)
				w.moved(app)
				return app, made.ClientID
			}
			for policy, stays := range map[v1alpha1.DeletionPolicy]bool{v1alpha1.DeletionDelete: false, v1alpha1.DeletionOrphan: true} {
				app, id := moves(func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = policy })
				w.update(app, func() { app.Spec.ClientName = "edited" })
				settle(w, app)
				require.Equal(t, id, app.Status.ClientID)
				require.Equal(t, "edited", w.registered(app).Name)
				require.Equal(t, 1, w.remembered(app))

				again := w.moved(app)
				w.remember(again)
				require.NoError(t, plane.Client.Delete(t.Context(), app))
				m := &mortal{left: -1}
				runUntil(t, process(t, m, w), m, app, func() bool { return gone(w, app) })
				require.Zero(t, w.remembered(app), "nothing says that it is somebody's")
				_, err := w.instance.Store.App(t.Context(), id)
				require.Equal(t, stays, err == nil)
			}
		})
	}
}

// moved lets the memory of an app's client be of another issuer than that of now,
// which it returns.
func (w *world) moved(app *v1alpha1.ConnectedApp) *corev1.ConfigMap {
	w.Helper()
	var list corev1.ConfigMapList
	require.NoError(w, plane.Client.List(w.Context(), &list, client.InNamespace(testenv.SystemNamespace), client.MatchingLabels{v1alpha1.LabelClientOwner: string(app.UID)}))
	require.Len(w, list.Items, 1)
	now := &list.Items[0]
	before := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: now.Namespace, Name: "before-" + string(app.UID), Labels: now.Labels}, Data: maps.Clone(now.Data)}
	before.Data["issuer"] = "https://before.example.com"
	plane.Create(w, before)
	require.NoError(w, plane.Client.Delete(w.Context(), now))
	return now
}

// remember brings a memory back.
func (w *world) remember(now *corev1.ConfigMap) {
	w.Helper()
	plane.Create(w, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: now.Namespace, Name: now.Name, Labels: now.Labels}, Data: now.Data})
}
