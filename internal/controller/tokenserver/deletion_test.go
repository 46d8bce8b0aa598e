// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

func (w *world) gone(o client.Object) {
	w.Helper()
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.True(apierrors.IsNotFound(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(o), o)))
	})
}

func (w *world) inUse(server *v1alpha1.TokenServer, message string) {
	w.Helper()
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(server), server))
		ready := testenv.Condition(server.Status.Conditions, v1alpha1.ConditionReady)
		c.Equal(v1alpha1.ReasonInUse, ready.Reason)
		c.Contains(ready.Message, message)
	})
}

// A TokenServer that is deleted by a slip stays, and so does what its apps get,
// however short the timeout is.
func TestAServerInUseIsHeldWithoutEnd(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer(func(s *v1alpha1.TokenServer) { s.Spec.DeletionTimeout = &metav1.Duration{} })
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	require.NoError(t, plane.Client.Delete(t.Context(), server))
	w.inUse(server, "it is being deleted and stays as long as 1 ConnectedApps use it (kubectl get capp -A); delete them or, to let it go all the same, "+
		"remove the finalizer connectedapps.dev/finalizer")
	w.probed(3)
	w.touch(app)
	w.appReady(app)
	stored, err := w.server.Store.App(t.Context(), app.Status.ClientID)
	require.NoError(t, err)
	require.Equal(t, app.Spec.ClientName, stored.Name, "the app is served as before")
	w.inUse(server, "1 ConnectedApps use it")

	require.NoError(t, plane.Client.Delete(t.Context(), app))
	w.gone(app)
	w.gone(server)
	_, err = w.server.Store.App(t.Context(), app.Status.ClientID)
	require.Error(t, err, "the app was deregistered before the way to its server went")
}

func TestWhoeverTakesTheFinalizerAwayLetsItGo(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.connectedApp()
	require.NoError(t, plane.Client.Delete(t.Context(), server))
	w.inUse(server, "remove the finalizer")
	w.edit(server, func() { server.Finalizers = nil })
	w.gone(server)
}

// Whoever may write a ConnectedApp could hold a TokenServer otherwise.
func TestAnAppThatWasNeverRegisteredHoldsNoServer(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "refused"},
		Spec: v1alpha1.ConnectedAppSpec{
			TokenServerRef: &v1alpha1.TokenServerReference{Name: w.name},
			GrantTypes:     []v1alpha1.GrantType{oauth.GrantPassword},
		},
	}
	w.create(app)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
		c.Equal(v1alpha1.ReasonNotAllowed, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Reason)
	})
	require.NoError(t, plane.Client.Delete(t.Context(), server))
	w.gone(server)
}

func TestADeletionThatCannotDeregisterSaysWhy(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	w.stop()
	w.setFault(answer(500, "application/json", `{}`))
	require.NoError(t, plane.Client.Delete(t.Context(), server))
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	plane.StartManager(t)
	w.inUse(server, "1 ConnectedApps that are being deleted still use it; it goes without them at ")
	w.inUse(server, " (spec.deletionTimeout); it cannot be used to deregister them: reading the discovery document: the server answered 500")
}

// What goes together finishes, and what is left is deleted when a TokenServer of
// the name is made that stands for the same server.
func TestWhatIsDeletedTogetherWithAServerThatIsAwayFinishes(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	short := func(s *v1alpha1.TokenServer) { s.Spec.DeletionTimeout = &metav1.Duration{Duration: time.Second} }
	server := w.tokenServer(short)
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	w.setFault(answer(503, "application/json", `{}`))
	require.NoError(t, plane.Client.Delete(t.Context(), server))
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	w.gone(app)
	w.gone(server)

	w.replacedBy("another")
	again := w.tokenServer(short)
	w.ready(again, metav1.ConditionTrue, v1alpha1.ReasonReady)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(again), again))
		c.EqualValues(1, again.Status.RememberedClients)
	})
	_, err := w.server.Store.App(t.Context(), app.Status.ClientID)
	require.NoError(t, err, "it is not the server that the app was registered on")

	w.mend()
	testenv.Eventually(t, func(c *require.Assertions) {
		_, err := w.server.Store.App(t.Context(), app.Status.ClientID)
		c.Error(err)
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(again), again))
		c.Zero(again.Status.RememberedClients)
	})
}
