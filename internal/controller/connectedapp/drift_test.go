// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// tamper changes a client behind the manager's back, as an administrator does.
func (w *world) tamper(app *v1alpha1.ConnectedApp, change func(*storage.App)) {
	w.Helper()
	_, err := w.instance.Store.UpdateApp(w.Context(), app.Status.ClientID, time.Now(), func(a *storage.App) error { change(a); return nil })
	require.NoError(w, err)
}

func (w *world) events() []string {
	w.Helper()
	var list eventsv1.EventList
	require.NoError(w, plane.Client.List(w.Context(), &list, client.InNamespace(w.namespace)))
	var texts []string
	for _, e := range list.Items {
		texts = append(texts, e.Type+" "+e.Reason+": "+e.Note)
	}
	return texts
}

func TestDriftIsNamedAndRepaired(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	w.tamper(app, func(a *storage.App) {
		a.Name, a.Enabled = "Mallory", false
		a.ContextScopes = append(a.ContextScopes, storage.ContextScope{Scope: "full"})
	})
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	registered := w.registered(app)
	require.Equal(t, w.namespace+"/app", registered.Name)
	require.True(t, registered.Enabled)
	require.Len(t, registered.ContextScopes, 1)
	const named = "clientName: Mallory, should be "
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionDrifted).Message, named)
	require.True(t, status.IsReady(app))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Contains(w.events(), "Warning DriftRepaired: undone: clientName: Mallory, should be "+w.namespace+"/app; "+
			"scopes: [view:environment, full], should be [view:environment]; enabled: false, should be true")
	})
}

func TestDriftIsReportedAndLeft(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.DriftPolicy = v1alpha1.DriftReport }))
	w.tamper(app, func(a *storage.App) { a.Name = "Mallory" })
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected)
	require.Equal(t, "Mallory", w.registered(app).Name)
	require.True(t, status.IsReady(app), "it was asked for")

	w.tamper(app, func(a *storage.App) { a.Name = w.namespace + "/app" })
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonNoDrift)
}

// Whoever has its id and secret notices nothing.
func TestAClientThatIsGoneComesBackAsItWas(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	secret := w.secret("app-credentials")
	_, err := w.instance.Store.DeleteApp(t.Context(), app.Status.ClientID, time.Now())
	require.NoError(t, err)
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionDrifted).Message, "client "+app.Status.ClientID+" is gone")
	w.ready(app)
	require.Equal(t, string(secret.Data["client-id"]), app.Status.ClientID)
	w.requireWorks(secret)
	w.requireWorks(w.secret("app-credentials"))
	require.Equal(t, secret.Data["client-secret"], w.secret("app-credentials").Data["client-secret"])
	require.Len(t, w.clients(), 1)
	require.Len(t, w.clients()[0].ContextScopes, 1)
}

// Without the secret there is nothing to bring back.
func TestAClientThatIsGoneTogetherWithItsSecretIsRegisteredAnew(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.DriftPolicy = v1alpha1.DriftReport }))
	lost := app.Status.ClientID
	_, err := w.instance.Store.DeleteApp(t.Context(), lost, time.Now())
	require.NoError(t, err)
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonDriftDetected)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message, "client "+lost+" is gone from the token server")
	require.Equal(t, "Failed", string(testenv.KStatus(t, app)))
	require.NoError(t, plane.Client.Delete(t.Context(), w.secret("app-credentials")))
	w.update(app, func() { app.Spec.DriftPolicy = v1alpha1.DriftRepair })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(app))
		c.NotEqual(lost, app.Status.ClientID)
		c.True(status.IsReady(app))
		c.Contains(w.events(), "Warning ClientReplaced: client "+lost+" was gone from the token server; the app was registered anew as client "+app.Status.ClientID)
	})
	w.requireWorks(w.secret("app-credentials"))
	require.Len(t, w.clients(), 1)
}

func TestASecretThatWasRevokedOnTheServerIsReplaced(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	before := string(w.secret("app-credentials").Data["client-secret"])
	w.tamper(app, func(a *storage.App) {
		a.Secrets = slices.Clone(a.Secrets)
		for i := range a.Secrets {
			a.Secrets[i].ExpiresAt = time.Now()
		}
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NotEqual(before, string(w.secret("app-credentials").Data["client-secret"]))
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		secret := w.secret("app-credentials")
		code, _ := requestToken(t, string(secret.Data["token-url"]), string(secret.Data["client-id"]), string(secret.Data["client-secret"]))
		c.Equal(200, code)
	})
	w.ready(app)
}

// A server that was restored from a backup knows nothing of what came after it.
func TestASecretThatTheServerForgotIsGivenBack(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	before := w.secret("app-credentials")
	w.tamper(app, func(a *storage.App) { a.Secrets = nil })
	testenv.Eventually(t, func(c *require.Assertions) {
		code, _ := requestToken(t, string(before.Data["token-url"]), app.Status.ClientID, string(before.Data["client-secret"]))
		c.Equal(200, code, "whoever holds the Secret reads nothing anew")
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		now := w.secret("app-credentials")
		c.Equal(before.Data, now.Data)
		c.NotEqual(before.Annotations[v1alpha1.AnnotationSecretID], now.Annotations[v1alpha1.AnnotationSecretID])
	})
	w.ready(app)
	require.Len(t, w.registered(app).Secrets, 1)
}

// A server that does not know a field is told once, not at every comparison.
func TestAFieldThatTheServerDoesNotKeepIsSentOnce(t *testing.T) {
	var patches atomic.Int64
	w := start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPatch {
				patches.Add(1)
			}
			if body, err := io.ReadAll(r.Body); err == nil {
				body = bytes.ReplaceAll(body, []byte(`"tos_uri"`), []byte(`"unknown"`))
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			}
			next.ServeHTTP(rw, r)
		})
	}))
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.TOSURI = "https://app.example.com/terms" }))
	require.Zero(t, patches.Load(), "the answer to the registration tells it")
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Contains(strings.Join(w.events(), "\n"), "Warning FieldNotKept: the token server does not keep what the spec says, it is not sent again: tosURI: none")
	})
	// Another change makes several comparisons certain.
	w.tamper(app, func(a *storage.App) { a.Name = "Mallory" })
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	w.tamper(app, func(a *storage.App) { a.Enabled = false })
	testenv.Eventually(t, func(c *require.Assertions) { c.True(w.registered(app).Enabled) })
	require.Equal(t, int64(2), patches.Load())
	require.NotContains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionDrifted).Message, "tosURI")
}

// A status can be written by others; it does not make their client ours.
func TestAClientOfSomebodyElseIsNotTouched(t *testing.T) {
	w := start(t)
	theirs := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Name = "theirs" }))
	ours := w.ready(w.app())
	own, revision := ours.Status.ClientID, w.registered(theirs).Revision
	suspend := func() {
		w.update(ours, func() { ours.Spec.Suspend, ours.Spec.ClientName = new(true), "hijacked" })
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(w.read(ours))
			c.Equal(ours.Generation, ours.Status.ObservedGeneration)
		})
	}
	hijack := func() {
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(w.read(ours))
			ours.Status.ClientID = theirs.Status.ClientID
			c.NoError(plane.Client.Status().Update(t.Context(), ours))
		})
		w.update(ours, func() { ours.Spec.Suspend = nil })
	}
	suspend()
	hijack()
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(ours))
		c.Equal(own, ours.Status.ClientID, "the one that bears its mark is found")
		c.True(status.IsReady(ours))
	})
	require.Equal(t, revision, w.registered(theirs).Revision)

	suspend()
	_, err := w.instance.Store.DeleteApp(t.Context(), own, time.Now())
	require.NoError(t, err)
	hijack()
	w.condition(ours, v1alpha1.ConditionReady, v1alpha1.ReasonOwnedElsewhere)
	require.Equal(t, "client "+theirs.Status.ClientID+" on the token server was registered for another object than this one; it was left as it is",
		testenv.Condition(ours.Status.Conditions, v1alpha1.ConditionReady).Message)
	require.Equal(t, revision, w.registered(theirs).Revision)

	require.NoError(t, plane.Client.Delete(t.Context(), ours))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(ours))) })
	require.Len(t, w.clients(), 1)
	require.Equal(t, revision, w.registered(theirs).Revision)
}

func TestTightenedAccessTakesEffectOnTheServer(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:environment"}, {Scope: "admin:exchange"}}
	}))
	w.update(w.server, func() {
		w.server.Spec.Access[0].Scopes = []v1alpha1.AccessScope{{Scope: "view:*"}}
	})
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonNotAllowed)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionPolicyAccepted).Message, "scope admin:exchange")
	testenv.Eventually(t, func(c *require.Assertions) { c.Len(w.registered(app).ContextScopes, 1) })
	require.True(t, w.registered(app).Enabled)

	w.update(w.server, func() { w.server.Spec.Access = nil })
	testenv.Eventually(t, func(c *require.Assertions) { c.False(w.registered(app).Enabled) })

	w.update(w.server, func() { w.server.Spec.Access = []v1alpha1.AccessRule{testenv.AllowAll("all")} })
	w.ready(app)
	require.True(t, w.registered(app).Enabled)
	require.Len(t, w.registered(app).ContextScopes, 2)
}

func TestAnAppThatIsNotAllowedIsNotRegistered(t *testing.T) {
	w := start(t)
	w.update(w.server, func() {
		w.server.Spec.Access[0].NamespaceSelector.MatchLabels = map[string]v1alpha1.LabelValue{"team": "payments"}
	})
	w.heardOfServer()
	app := w.app()
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonNotAllowed)
	require.Equal(t, "Failed", string(testenv.KStatus(t, app)))
	require.Empty(t, w.clients())
	require.Empty(t, app.Finalizers, "there is nothing to clean up")

	namespace := plane.ReadNamespace(t, w.namespace)
	w.update(namespace, func() { namespace.Labels["team"] = "payments" })
	w.ready(app)
}
