// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// world is a token server, the TokenServer that names it and a namespace, with
// the controllers running.
type world struct {
	*testing.T
	instance  *tokenservertest.Instance
	server    *v1alpha1.TokenServer
	namespace string
	stop      func()
}

func start(t *testing.T, options ...tokenservertest.Option) *world {
	t.Helper()
	w := &world{T: t, instance: tokenservertest.Start(t, options...)}
	w.server = plane.TokenServer(t, w.instance)
	w.namespace = plane.Namespace(t, nil)
	w.stop = plane.StartManager(t)
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

// update changes an object, whatever others do to it meanwhile.
func (w *world) update(o client.Object, change func()) {
	w.Helper()
	testenv.Eventually(w, func(c *require.Assertions) {
		c.NoError(w.read(o))
		change()
		c.NoError(plane.Client.Update(w.Context(), o))
	})
}
