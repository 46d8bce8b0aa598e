// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.RunDocumented(m, &plane)) }

// world is a token server, the TokenServer that names it and a namespace, with
// the controllers running.
type world struct {
	*testing.T
	instance  *tokenservertest.Instance
	server    *v1alpha1.TokenServer
	namespace string
	// plain: the server was started tokenservertest.Plain.
	plain bool
}

// start starts a world, in parallel with those of other tests. Every client is
// compared with its spec each second.
func start(t *testing.T, options ...tokenservertest.Option) *world {
	t.Helper()
	t.Parallel()
	return begin(t, options...)
}

// begin is start for a test that is parallel already.
func begin(t *testing.T, options ...tokenservertest.Option) *world {
	t.Helper()
	plane.ShareManager(t, testenv.WithOptions(func(o *controller.Options) { o.ResyncInterval = time.Second }))
	w := &world{T: t, instance: tokenservertest.Start(t, options...)}
	w.server = plane.TokenServer(t, w.instance)
	w.namespace = plane.Namespace(t, nil)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(w.server))
		c.True(status.IsReady(w.server), "conditions: %+v", w.server.Status.Conditions)
	})
	return w
}

// app creates a ConnectedApp.
func (w *world) app(change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	w.Helper()
	return plane.CreateApp(w, testenv.App(w.namespace, w.server.Name, change...))
}

// read reads an object anew.
func (w *world) read(o client.Object) error {
	return plane.Client.Get(w.Context(), client.ObjectKeyFromObject(o), o)
}

// ready waits until the app is Ready at its generation.
func (w *world) ready(app *v1alpha1.ConnectedApp) *v1alpha1.ConnectedApp {
	w.Helper()
	testenv.Eventually(w, func(c *require.Assertions) {
		c.NoError(w.read(app))
		c.True(status.IsReady(app), "conditions: %+v", app.Status.Conditions)
	})
	return app
}

// condition waits until a condition has a reason.
func (w *world) condition(app *v1alpha1.ConnectedApp, conditionType, reason string) *v1alpha1.ConnectedApp {
	w.Helper()
	testenv.Eventually(w, func(c *require.Assertions) {
		c.NoError(w.read(app))
		c.Equal(reason, testenv.Condition(app.Status.Conditions, conditionType).Reason, "conditions: %+v", app.Status.Conditions)
	})
	return app
}

// secret reads a Secret of the namespace.
func (w *world) secret(name string) *corev1.Secret {
	w.Helper()
	secret := &corev1.Secret{}
	require.NoError(w, plane.Client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, secret))
	return secret
}

// requireWorks obtains a token with what the app's Secret holds.
func (w *world) requireWorks(secret *corev1.Secret) {
	w.Helper()
	requireToken(w, string(secret.Data["token-url"]), string(secret.Data["client-id"]), string(secret.Data["client-secret"]))
}

// registered is the client as the token server holds it.
func (w *world) registered(app *v1alpha1.ConnectedApp) storage.App {
	w.Helper()
	client, err := w.instance.Store.App(w.Context(), app.Status.ClientID)
	require.NoError(w, err)
	return client
}

// clients are the token server's clients that this cluster made.
func (w *world) clients() []storage.App {
	w.Helper()
	var made []storage.App
	list, _, err := w.instance.Store.Apps(w.Context(), storage.AppQuery{OrgID: w.instance.OrgID, Limit: 1000})
	require.NoError(w, err)
	for _, app := range list {
		if !w.plain && app.ExternalID != "" || w.plain && app.ClientID != w.instance.AdminClientID && app.Name != madeByHand {
			made = append(made, app)
		}
	}
	return made
}

// update changes an object, whatever others do to it meanwhile.
func (w *world) update(o client.Object, change func()) {
	w.Helper()
	testenv.Eventually(w, func(c *require.Assertions) {
		c.NoError(w.read(o))
		change()
		c.NoError(plane.Client.Update(w.Context(), o))
	})
}

// heardOfServer waits until the manager has heard of what the TokenServer says now:
// an app that is made before may still be judged by what it said.
func (w *world) heardOfServer() {
	w.Helper()
	testenv.Eventually(w, func(c *require.Assertions) {
		c.NoError(w.read(w.server))
		c.Equal(w.server.Generation, w.server.Status.ObservedGeneration)
	})
}
