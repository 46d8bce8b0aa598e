// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// TestAnUpgradeAndItsWayBackAreNotNoticed, whichever program comes first: no client
// is registered anew or written, no Secret changes, nothing stops being Ready. In
// between each manager works with each token server.
func TestAnUpgradeAndItsWayBackAreNotNoticed(t *testing.T) {
	from, to := theReleaseBefore(t, "default"), thisRelease(t, "default")
	i := newInstallation(t, "upgraded")
	i.apply(from)
	i.run(from)
	objects := i.populate()
	was := i.look(objects)
	i.anAppLives("before")
	i.auditFrom = now()
	w := i.watch()

	i.apply(to) // the programs are still those of before
	i.anAppLives("new manifests, old programs")
	manager := (*installation).startManager
	// The manager meets another server while it runs, and again when it starts.
	server := func(i *installation, r *release) {
		i.startServer(r)
		i.anAppLives("another server")
		i.startManager(i.managerOf)
	}
	for _, step := range []struct {
		name    string
		program func(*installation, *release)
		release *release
	}{
		{"new manager, old server", manager, to},
		{"new manager, new server", server, to},
		{"back: old manager, new server", manager, from},
		{"back: old manager, old server", server, from},
		{"old manager, new server", server, to},
		{"then new manager, new server", manager, to},
		{"back: new manager, old server", server, from},
		{"all the way back", manager, from},
	} {
		t.Log(step.name)
		if step.name == "all the way back" {
			i.apply(from)
		}
		step.program(i, step.release)
		i.compared(objects)
		i.anAppLives(step.name)
		i.unchanged(was, objects)
		require.Empty(t, w.fell(), "stopped being Ready: %s", step.name)
	}
	w.stop()
	i.takeAway(objects)
}

// compared waits until a manager that has just started has compared all apps with the
// server, and looked at each object.
func (i *installation) compared(objects []status.Object) {
	i.Helper()
	i.eventually(func(c *require.Assertions) { c.True(i.listed(), "%s", i.manager) })
	// Something that is none of the spec.
	for _, o := range objects {
		i.touch(o)
	}
	i.ready(objects...)
}

func (i *installation) touch(o client.Object) {
	i.Helper()
	was, _ := o.DeepCopyObject().(client.Object)
	was.SetAnnotations(nil)
	touched, _ := was.DeepCopyObject().(client.Object)
	touched.SetAnnotations(map[string]string{"example.com/touched": was.GetResourceVersion()})
	require.NoError(i, i.client.Patch(i.Context(), touched, client.MergeFrom(was)))
}

// look is what must stay as it is: the client of each app, each spec, each Secret.
func (i *installation) look(objects []status.Object) map[string]string {
	i.Helper()
	seen := map[string]string{}
	for _, o := range objects {
		require.NoError(i, i.client.Get(i.Context(), client.ObjectKeyFromObject(o), o))
		name := client.ObjectKeyFromObject(o).String()
		switch o := o.(type) {
		case *v1alpha1.ConnectedApp:
			seen["client of "+name] = o.Status.ClientID
			seen["spec of ConnectedApp "+name] = text(i.T, o.Spec)
		case *v1alpha1.AccessToken:
			seen["spec of AccessToken "+name] = text(i.T, o.Spec)
		case *v1alpha1.TokenServer:
			seen["spec of TokenServer "+name] = text(i.T, o.Spec)
			seen["installation of TokenServer "+name] = o.Status.InstallationID
		}
	}
	var secrets corev1.SecretList
	require.NoError(i, i.client.List(i.Context(), &secrets))
	for n := range secrets.Items {
		s := &secrets.Items[n]
		seen["Secret "+client.ObjectKeyFromObject(s).String()] = s.ResourceVersion
	}
	return seen
}

func text(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	require.NoError(t, err)
	return string(data)
}

func (i *installation) unchanged(was map[string]string, objects []status.Object) {
	i.Helper()
	require.Equal(i, was, i.look(objects))
	require.Empty(i, i.written(objects), "clients are written")
	// What the former schema stored is valid by the one that is there now.
	for _, o := range objects {
		again, _ := o.DeepCopyObject().(client.Object)
		require.NoError(i, i.client.Update(i.Context(), again, client.DryRunAll))
	}
}

// anAppLives registers an app, changes it, gives it another secret and deletes it.
func (i *installation) anAppLives(when string) {
	i.Helper()
	app := &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.team, Name: "short-lived"},
		Spec:       v1alpha1.ConnectedAppSpec{GrantTypes: []v1alpha1.GrantType{"client_credentials"}, ClientName: "Short"},
	}
	require.NoError(i, i.client.Create(i.Context(), app))
	i.ready(app)
	secret := func() string {
		s := &corev1.Secret{}
		require.NoError(i, i.client.Get(i.Context(), client.ObjectKey{Namespace: i.team, Name: "short-lived-credentials"}, s))
		return string(s.Data["client-secret"])
	}
	first, id := secret(), app.Status.ClientID
	require.NotEmpty(i, first)

	i.edit(app, func() { app.Spec.ClientName = when })
	i.ready(app)
	i.edit(app, func() { metav1.SetMetaDataAnnotation(&app.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, "now") })
	i.eventually(func(c *require.Assertions) {
		c.NoError(i.client.Get(i.Context(), client.ObjectKeyFromObject(app), app))
		c.Equal("now", app.Status.LastHandledRotateAt)
	})
	require.NotEqual(i, first, secret(), when)
	require.Equal(i, id, app.Status.ClientID, when)

	require.NoError(i, i.client.Delete(i.Context(), app))
	i.eventually(func(c *require.Assertions) {
		c.True(apierrors.IsNotFound(i.client.Get(i.Context(), client.ObjectKeyFromObject(app), &v1alpha1.ConnectedApp{})), when)
		c.True(apierrors.IsNotFound(i.client.Get(i.Context(), client.ObjectKey{Namespace: i.team, Name: "short-lived-credentials"}, &corev1.Secret{})), when)
	})
}

func (i *installation) edit(o client.Object, change func()) {
	i.Helper()
	i.eventually(func(c *require.Assertions) {
		c.NoError(i.client.Get(i.Context(), client.ObjectKeyFromObject(o), o))
		change()
		c.NoError(i.client.Update(i.Context(), o))
	})
}

// watcher sees every version of our objects.
type watcher struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	ready  map[string]bool
	lost   []string
}

func (i *installation) watch() *watcher {
	i.Helper()
	ctx, cancel := context.WithCancel(i.Context())
	w := &watcher{cancel: cancel, ready: map[string]bool{}}
	i.Cleanup(w.stop)
	for _, list := range []client.ObjectList{&v1alpha1.TokenServerList{}, &v1alpha1.ConnectedAppList{}, &v1alpha1.AccessTokenList{}} {
		events, err := i.client.Watch(ctx, list)
		require.NoError(i, err)
		w.done.Go(func() {
			defer events.Stop()
			for event := range events.ResultChan() {
				if o, ok := event.Object.(status.Object); ok {
					w.see(o)
				}
			}
		})
	}
	return w
}

func (w *watcher) see(o status.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// An app of a test is changed, and for that moment not Ready.
	if o.GetName() == "short-lived" || o.GetDeletionTimestamp() != nil {
		return
	}
	key := string(o.GetUID()) + " " + o.GetName()
	if ready := status.IsReady(o); !ready && w.ready[key] {
		w.lost = append(w.lost, fmt.Sprintf("%s: %+v", key, *o.GetConditions()))
	} else {
		w.ready[key] = ready
	}
}

func (w *watcher) fell() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

func (w *watcher) stop() {
	w.cancel()
	w.done.Wait()
}

// takeAway deletes what populate made, and the installation.
func (i *installation) takeAway(objects []status.Object) {
	i.Helper()
	for n := len(objects) - 1; n >= 0; n-- { // the TokenServer last
		require.NoError(i, i.client.Delete(i.Context(), objects[n]))
	}
	for _, o := range objects {
		i.eventually(func(c *require.Assertions) {
			c.True(apierrors.IsNotFound(i.client.Get(i.Context(), client.ObjectKeyFromObject(o), o)), o.GetName())
		})
	}
	kubectl(i.T, "", "delete", "namespace", i.team)
}
