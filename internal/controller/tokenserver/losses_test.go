// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// lose deletes clients on the server, behind the manager's back.
func (w *world) lose(apps []*v1alpha1.ConnectedApp) {
	w.Helper()
	for _, app := range apps {
		_, err := w.server.Store.DeleteApp(w.Context(), app.Status.ClientID, time.Now())
		require.NoError(w, err)
	}
}

// unchanged fails when an app has another client than it had.
func (w *world) unchanged(apps []*v1alpha1.ConnectedApp) {
	w.Helper()
	for _, app := range apps {
		before := app.Status.ClientID
		require.NoError(w, plane.Client.Get(w.Context(), client.ObjectKeyFromObject(app), app))
		require.Equal(w, before, app.Status.ClientID)
	}
}

// healed waits until the client of every app is there.
func (w *world) healed(apps []*v1alpha1.ConnectedApp) {
	w.Helper()
	for _, app := range apps {
		testenv.Eventually(w.T, func(c *require.Assertions) {
			c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(app), app))
			_, err := w.server.Store.App(w.Context(), app.Status.ClientID)
			c.NoError(err)
		})
		w.appReady(app)
	}
}

// touch makes the manager look at an app.
func (w *world) touch(apps ...*v1alpha1.ConnectedApp) {
	w.Helper()
	for _, app := range apps {
		w.edit(app, func() { app.Spec.ClientName = fmt.Sprintf("%s at generation %d", app.Name, app.Generation) })
	}
}

var seldom = testenv.WithOptions(func(o *controller.Options) { o.ProbeInterval = time.Hour })

func TestManyClientsGoneAtOnceAreNotRegisteredAnew(t *testing.T) {
	for name, c := range map[string]struct {
		options []testenv.ManagerOption
		plain   bool
		find    func(w *world, apps []*v1alpha1.ConnectedApp)
	}{
		"a probe finds it":                     {find: func(*world, []*v1alpha1.ConnectedApp) {}},
		"an app finds it":                      {[]testenv.ManagerOption{seldom}, false, func(w *world, apps []*v1alpha1.ConnectedApp) { w.touch(apps[0]) }},
		"all apps find it":                     {[]testenv.ManagerOption{seldom}, false, func(w *world, apps []*v1alpha1.ConnectedApp) { w.touch(apps...) }},
		"a probe finds it on a plain platform": {nil, true, func(*world, []*v1alpha1.ConnectedApp) {}},
		"apps find it on a plain platform":     {[]testenv.ManagerOption{seldom}, true, func(w *world, apps []*v1alpha1.ConnectedApp) { w.touch(apps...) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.options...)
			if c.plain {
				w.isPlain()
			}
			w.create(w.credentials(w.server.AdminClientSecret))
			server := w.tokenServer()
			w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
			apps := w.connectedApps(11)
			w.lose(apps[:10])
			c.find(w, apps)
			stalled := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
			require.Contains(t, stalled.Message, "10 of the 11 clients of ConnectedApps are gone from the server at once: it was replaced or restored from a backup, and none of them is registered anew")
			w.unchanged(apps)

			w.accept(server, answerTo(t, stalled.Message))
			w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.touch(apps...)
			w.healed(apps)
			w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)

			// The annotation is still there, and nothing of it is left.
			testenv.Eventually(t, func(c *require.Assertions) {
				record := &corev1.ConfigMap{}
				c.NoError(plane.Client.Get(t.Context(), client.ObjectKey{Namespace: testenv.SystemNamespace, Name: "tokenserver-identity-" + w.name}, record))
				c.Equal(answerTo(t, stalled.Message), record.Data["accepted"])
				c.NotContains(record.Data, "acceptedLosses")
			})
			w.lose(apps)
			c.find(w, apps)
			w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
			w.unchanged(apps)
		})
	}
}

func TestClientsLostWhileNobodyLookedAreNotRegisteredAnew(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	apps := w.connectedApps(12)
	w.stop()
	w.lose(apps)
	plane.StartManager(t)
	stalled := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	w.touch(apps...)
	w.probed(2)
	w.unchanged(apps)

	// A restart forgets neither the question nor the answer.
	require.Equal(t, answerTo(t, stalled.Message), answerTo(t, w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced).Message))
	w.accept(server, answerTo(t, stalled.Message))
	w.healed(apps)
}

func TestFewClientsThatAreGoneAreRegisteredAnewAtOnce(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	apps := w.connectedApps(12)
	w.lose(apps[:9])
	w.touch(apps[:9]...)
	w.healed(apps)
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	for _, event := range w.events(server.UID) {
		require.NotContains(t, event, v1alpha1.ReasonServerReplaced)
	}
}

// Clients that come back, as when the right backup is put back, need no answer.
func TestAServerThatHasItsClientsBackNeedsNoAnswer(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	apps := w.connectedApps(10)
	stored := make([]storage.App, 0, len(apps))
	for _, app := range apps {
		record, err := w.server.Store.App(t.Context(), app.Status.ClientID)
		require.NoError(t, err)
		stored = append(stored, record)
	}

	w.lose(apps)
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	for _, record := range stored {
		_, err := w.server.Store.CreateApp(t.Context(), record)
		require.NoError(t, err)
	}
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.unchanged(apps)
}
