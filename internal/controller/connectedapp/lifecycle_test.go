// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func TestAnEditReachesTheServer(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	id := app.Status.ClientID
	w.update(app, func() {
		app.Spec.ClientName = "GitProxy"
		app.Spec.GrantTypes = []v1alpha1.GrantType{"authorization_code", "refresh_token"}
		app.Spec.RedirectURIs = []v1alpha1.RedirectURI{"https://git.example.com/cb"}
		app.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "offline_access"}, {Scope: "profile"}}
		app.Spec.Audience = "everyone"
		app.Spec.ClientURI = "https://git.example.com"
	})
	w.ready(app)
	registered := w.registered(app)
	require.Equal(t, id, app.Status.ClientID)
	require.Equal(t, "GitProxy", registered.Name)
	require.Equal(t, []string{"authorization_code", "refresh_token"}, registered.GrantTypes)
	require.Equal(t, []string{"https://git.example.com/cb"}, registered.RedirectURIs)
	require.Equal(t, []string{"offline_access", "profile"}, registered.Scopes, "the order of the spec")
	require.Equal(t, "everyone", registered.Audience)
	require.Equal(t, "https://git.example.com", registered.ClientURI)

	w.update(app, func() {
		app.Spec = testenv.App(w.namespace, w.server.Name).Spec
		app.Spec.Scopes = []v1alpha1.ScopeAssignment{
			{Scope: "view:environment", OrganizationID: tokenservertest.OrgID, EnvironmentID: tokenservertest.EnvID}, {Scope: "read:stats"},
		}
		app.Spec.Enabled = new(bool)
	})
	w.ready(app)
	registered = w.registered(app)
	require.False(t, registered.Enabled)
	require.Empty(t, registered.RedirectURIs)
	require.Empty(t, registered.ClientURI)
	require.Len(t, registered.ContextScopes, 2)
	require.Equal(t, tokenservertest.EnvID, registered.ContextScopes[0].EnvID)
}

// What a watcher sees of a new app and of an edit: never Ready for a generation
// that was not handled, two statuses for each.
func TestStatusIsHonestFromTheFirstWriteOn(t *testing.T) {
	w := start(t)
	watcher, err := plane.Client.Watch(t.Context(), &v1alpha1.ConnectedAppList{}, client.InNamespace(w.namespace))
	require.NoError(t, err)
	app := w.ready(w.app())
	w.update(app, func() { app.Spec.ClientName = "second" })
	w.ready(app)
	defer watcher.Stop()

	statuses := map[int64]map[string]bool{}
	for !statuses[2]["True Ready"] {
		event := <-watcher.ResultChan()
		if event.Type != watch.Added && event.Type != watch.Modified {
			continue
		}
		seen := event.Object.(*v1alpha1.ConnectedApp)
		ready := testenv.Condition(seen.Status.Conditions, v1alpha1.ConditionReady)
		if ready.Type == "" {
			require.Equal(t, int64(-1), seen.Status.ObservedGeneration)
			continue
		}
		if ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == seen.Generation {
			require.Equal(t, seen.Generation, seen.Status.ObservedGeneration)
		}
		if seen.Status.ObservedGeneration != seen.Generation {
			require.NotEqual(t, "Current", string(testenv.KStatus(t, seen)))
		}
		if ready.ObservedGeneration == seen.Generation {
			if statuses[seen.Generation] == nil {
				statuses[seen.Generation] = map[string]bool{}
			}
			statuses[seen.Generation][string(ready.Status)+" "+ready.Reason] = true
		}
	}
	require.Equal(t, map[int64]map[string]bool{1: {"True Ready": true}, 2: {"Unknown Progressing": true, "True Ready": true}}, statuses)
}

func TestAResyncOfWhatIsInOrderWritesNothing(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(faults.middleware))
	app := w.ready(w.app())
	w.ready(app)
	// The first comparison after a change may note the server's revision.
	before := faults.calls.Load()
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(faults.calls.Load(), before+4) })
	require.NoError(t, w.read(app))
	secret := w.secret("app-credentials")
	version, revision := app.ResourceVersion, w.registered(app).Revision

	before = faults.calls.Load()
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(faults.calls.Load(), before+6) })
	require.NoError(t, w.read(app))
	require.Equal(t, version, app.ResourceVersion)
	require.Equal(t, secret.ResourceVersion, w.secret("app-credentials").ResourceVersion)
	require.Equal(t, revision, w.registered(app).Revision)
}

func TestApplyingAManifestTwiceChangesNothing(t *testing.T) {
	w := start(t)
	apply := func() *v1alpha1.ConnectedApp {
		app := testenv.App(w.namespace, w.server.Name)
		app.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ConnectedApp"))
		//nolint:staticcheck // an apply of a whole object, as kubectl sends it
		require.NoError(t, plane.Client.Patch(t.Context(), app, client.Apply, client.FieldOwner("kubectl")))
		return app
	}
	app := w.ready(apply())
	t.Cleanup(func() { _ = plane.Client.Delete(t.Context(), app) })
	again := apply()
	require.Equal(t, app.ResourceVersion, again.ResourceVersion)
	require.Equal(t, app.Generation, again.Generation)
}

func TestASuspendedAppIsLeftAloneAndCanBeDeleted(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	w.update(app, func() {
		suspend := true
		app.Spec.Suspend, app.Spec.ClientName = &suspend, "not yet"
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(app))
		c.Equal("Current", string(testenv.KStatus(t, app)), "or tools that wait would wait for ever")
		c.Empty(testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Type, "the edit waits")
	})
	require.Equal(t, w.namespace+"/app", w.registered(app).Name)

	w.update(app, func() { app.Spec.Suspend = nil })
	w.ready(app)
	require.Equal(t, "not yet", w.registered(app).Name)

	w.update(app, func() { suspend := true; app.Spec.Suspend = &suspend })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended)
	require.True(t, status.IsReady(app), "nothing waits")
	require.Equal(t, "Current", string(testenv.KStatus(t, app)))
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
	require.Empty(t, w.clients())
}

func TestOrphanLeavesClientAndSecret(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }))
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
	secret := w.secret("app-credentials")
	require.Empty(t, secret.OwnerReferences, "or the garbage collector takes it")
	w.requireWorks(secret)
	require.Len(t, w.clients(), 1)
}

// A server that is gone for good must not keep a namespace from being deleted.
func TestDeletionFinishesWithoutTheServerAndTheClientIsRemembered(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(faults.middleware))
	w.update(w.server, func() { w.server.Spec.DeletionTimeout = &metav1.Duration{Duration: 2 * time.Second} })
	app := w.ready(w.app())
	faults.begin(say(503, "application/json", `{"status":503,"message":"away"}`))

	require.NoError(t, plane.Client.Delete(t.Context(), app))
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonDeleting)
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
	require.Len(t, w.clients(), 1)

	faults.end()
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Empty(w.clients())
		var tombstones corev1.ConfigMapList
		c.NoError(plane.Client.List(t.Context(), &tombstones, client.InNamespace(testenv.SystemNamespace), client.HasLabels{v1alpha1.LabelTombstone}))
		for _, tombstone := range tombstones.Items {
			c.NotEqual(w.server.Name, tombstone.Data["tokenServer"])
		}
	})
}

func TestAnObjectOfTheSameNameIsAnotherClient(t *testing.T) {
	w := start(t)
	first := w.ready(w.app())
	require.NoError(t, plane.Client.Delete(t.Context(), first))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(first))) })
	second := w.ready(w.app())
	require.NotEqual(t, first.Status.ClientID, second.Status.ClientID)
	require.Len(t, w.clients(), 1)
}

func TestPublicKeysFromAConfigMap(t *testing.T) {
	w := start(t)
	app := w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.GrantTypes = []v1alpha1.GrantType{"urn:ietf:params:oauth:grant-type:jwt-bearer"}
		a.Spec.Scopes = nil
		a.Spec.PublicKeys = []v1alpha1.PublicKey{{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "keys", Key: "key.pem"}}}
	})
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonConfigMapNotFound)
	keys := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "keys"}, Data: map[string]string{"key.pem": "not PEM"}}
	plane.Create(t, keys)
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonInvalidPublicKey)
	require.Empty(t, w.clients())

	first, second := newPublicKey(t), newPublicKey(t)
	w.update(keys, func() { keys.Data["key.pem"] = first })
	w.ready(app)
	require.Equal(t, []string{first}, w.registered(app).PublicKeys)

	w.update(keys, func() { keys.Data["key.pem"] = second })
	testenv.Eventually(t, func(c *require.Assertions) { c.Equal([]string{second}, w.registered(app).PublicKeys) })
}

// No secret value is ever anywhere but in its Secret.
func TestSecretsAreNowhereButInTheSecret(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(faults.middleware))
	app := w.ready(w.app())
	value := string(w.secret("app-credentials").Data["client-secret"])
	require.NotEmpty(t, value)
	leaking := say(500, "application/json", `{"status":500,"message":"no: `+value+`"}`)
	faults.begin(func(rw http.ResponseWriter, r *http.Request) { leaking(rw, r) })
	w.update(app, func() { app.Spec.ClientName = "x" })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonTokenServerUnavailable)
	faults.end()
	w.ready(app)

	content, err := yamlOf(app)
	require.NoError(t, err)
	require.NotContains(t, content, value)
	var events eventsv1.EventList
	require.NoError(t, plane.Client.List(t.Context(), &events, client.InNamespace(w.namespace)))
	require.NotEmpty(t, events.Items, "people are told")
	for _, event := range events.Items {
		require.NotContains(t, event.Note, value)
	}
	require.NoError(t, w.read(w.server))
	content, err = yamlOf(w.server)
	require.NoError(t, err)
	require.NotContains(t, content, value)
	require.NotContains(t, content, w.instance.AdminClientSecret)
}

func TestOneEventTellsThatAnAppIsReady(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	var notes []string
	testenv.Eventually(t, func(c *require.Assertions) {
		var events eventsv1.EventList
		c.NoError(plane.Client.List(t.Context(), &events, client.InNamespace(w.namespace)))
		notes = nil
		for _, event := range events.Items {
			notes = append(notes, event.Type+" "+event.Reason+" "+event.Note)
		}
		c.NotEmpty(notes)
	})
	require.Len(t, notes, 1, "%s", strings.Join(notes, "\n"))
	require.Equal(t, "Normal Ready registered as client "+app.Status.ClientID+", credentials are in secret app-credentials", notes[0])
}

// Whoever has a namespace can name TokenServers that will never be, one after
// another, with finalizer and all: no tombstone stays of it, and no series.
func TestANameThatIsNoTokenServerLeavesNothingBehind(t *testing.T) {
	w := start(t)
	app := w.app(func(a *v1alpha1.ConnectedApp) {
		a.Finalizers = []string{v1alpha1.Finalizer}
		a.Spec.TokenServerRef.Name = w.server.Name + "-never"
	})
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonTokenServerNotFound)
	w.deleted(app)
	var tombstones corev1.ConfigMapList
	require.NoError(t, plane.Client.List(t.Context(), &tombstones, client.InNamespace(testenv.SystemNamespace), client.HasLabels{v1alpha1.LabelTombstone}))
	for i := range tombstones.Items {
		require.NotContains(t, tombstones.Items[i].Name, string(app.UID))
	}
	families, err := metrics.Registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, series := range family.Metric {
			require.NotContains(t, series.String(), app.Spec.TokenServerRef.Name, family.GetName())
		}
	}
}
