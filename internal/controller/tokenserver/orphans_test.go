// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
)

var configMaps = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMapList"}

var often = testenv.WithOptions(func(o *controller.Options) { o.ResyncInterval = time.Second })

// orphaned waits until the status names just these clients.
func (w *world) orphaned(server *v1alpha1.TokenServer, ids ...string) {
	w.Helper()
	slices.Sort(ids)
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(server), server))
		found := server.Status.OrphanedClients
		c.NotNil(found)
		c.EqualValues(len(ids), found.Count)
		c.Len(found.ClientIDs, min(len(ids), 20))
		for i, id := range found.ClientIDs {
			c.Equal(ids[i], string(id))
		}
		c.InDelta(len(ids), orphanMetric(c, server.Name), 0)
	})
}

func orphanMetric(c *require.Assertions, tokenServer string) float64 {
	families, err := metrics.Registry.Gather()
	c.NoError(err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "connectedapp_orphaned_clients" && m.GetLabel()[0].GetValue() == tokenServer {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// vanish removes an object and its finalizer.
func (w *world) vanish(app *v1alpha1.ConnectedApp) {
	w.Helper()
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	require.NoError(w, plane.Client.Patch(w.Context(), app, release))
	require.NoError(w, plane.Client.Delete(w.Context(), app))
}

// register makes a client under an external id.
func (w *world) register(externalID string) string {
	w.Helper()
	api, err := registrar.New(registrar.Config{URL: w.server.URL, ClientID: w.server.AdminClientID, ClientSecret: w.server.AdminClientSecret})
	require.NoError(w, err)
	name, audience := "made by other means", "internal"
	answer, err := api.Register(w.Context(), externalID, registrar.Fields{
		ClientName: &name, GrantTypes: &[]string{oauth.GrantClientCredentials}, Audience: &audience,
		RedirectURIs: &[]string{}, PublicKeys: &[]string{}, Scopes: &[]string{},
	})
	require.NoError(w, err)
	return answer.App.ClientID
}

func (w *world) clusterID() string {
	return string(plane.ReadNamespace(w, "kube-system").UID)
}

func TestClientsWithoutAnObjectAreToldAndLeft(t *testing.T) {
	w := newWorld(t, often)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	apps := w.connectedApps(4)
	w.register("")
	w.register("another-cluster/" + w.name + "/app/4711")
	w.orphaned(server)

	left, forgotten := apps[0], apps[1]
	w.edit(left, func() { left.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	require.NoError(t, plane.Client.Delete(t.Context(), left))
	w.orphaned(server, left.Status.ClientID)
	w.stop()
	w.vanish(forgotten)
	w.stop = plane.StartManager(t, often)
	w.orphaned(server, left.Status.ClientID, forgotten.Status.ClientID)
	testenv.Eventually(t, func(c *require.Assertions) {
		events := strings.Join(w.events(server.UID), "\n")
		c.Contains(events, "ClientsOrphaned: clients that ConnectedApps of this cluster made and that have none any more: 1 (status.orphanedClients)")
		c.Contains(events, "any more: 2 (status.orphanedClients)")
	})
	for _, app := range []*v1alpha1.ConnectedApp{left, forgotten} {
		_, err := w.server.Store.App(t.Context(), app.Status.ClientID)
		require.NoError(t, err, "nothing is done to it")
	}

	// One that is adopted has an object again.
	w.edit(server, func() { server.Spec.Access[0].ClientIDs = []v1alpha1.ClientID{v1alpha1.ClientID(left.Status.ClientID)} })
	next := &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "next", Annotations: map[string]string{v1alpha1.AnnotationAdoptClientID: left.Status.ClientID}},
		Spec:       apps[2].Spec,
	}
	w.create(next)
	w.appReady(next)
	require.Equal(t, left.Status.ClientID, next.Status.ClientID)
	w.orphaned(server, forgotten.Status.ClientID)

	// It is an orphan again when its new object vanishes, and nothing remembers it
	// once it is gone.
	w.stop()
	w.vanish(next)
	w.stop = plane.StartManager(t, often)
	w.orphaned(server, left.Status.ClientID, forgotten.Status.ClientID)
	w.lose([]*v1alpha1.ConnectedApp{left, forgotten})
	w.orphaned(server)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Contains(strings.Join(w.events(server.UID), "\n"), "NoClientOrphaned: every client that ConnectedApps of this cluster made has one")
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(configMaps)
		c.NoError(plane.Client.List(t.Context(), list, client.MatchingLabels{v1alpha1.LabelClientOwner: string(next.UID)}))
		c.Empty(list.Items)
	})
}

func TestAClientThatIsRememberedForDeletionIsNoOrphan(t *testing.T) {
	w := newWorld(t, often)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	apps := w.connectedApps(2)
	w.orphaned(server)
	w.vanish(apps[0]) // the manager sees it, and remembers the client
	w.orphaned(server)
	testenv.Eventually(t, func(c *require.Assertions) {
		_, err := w.server.Store.App(t.Context(), apps[0].Status.ClientID)
		c.Error(err, "it is deleted")
	})
	require.NotContains(t, strings.Join(w.events(server.UID), "\n"), "ClientsOrphaned")
}

func TestOfManyOrphansAFewAreNamed(t *testing.T) {
	w := newWorld(t, often)
	w.create(w.credentials(w.server.AdminClientSecret))
	var ids []string
	for i := range 25 {
		ids = append(ids, w.register(fmt.Sprintf("%s/%s/app-%d/uid-%d", w.clusterID(), w.name, i, i)))
	}
	w.orphaned(w.tokenServer(), ids...)
}

// Where no client bears a mark, the manager remembers whose it is. A list whose
// pages shifted while it was read does not make it forget.
func TestOrphansOfAPlainPlatformAreToldAndLeft(t *testing.T) {
	w := newWorld(t, often)
	w.isPlain()
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	apps := w.connectedApps(2)
	w.register("")
	w.orphaned(server)
	w.stop()
	w.vanish(apps[0])
	w.stop = plane.StartManager(t, often)
	w.orphaned(server, apps[0].Status.ClientID)

	w.isPlainAndHides(apps[0].Status.ClientID)
	w.orphaned(server)
	w.isPlain()
	w.orphaned(server, apps[0].Status.ClientID)

	w.lose(apps[:1])
	w.orphaned(server)
	testenv.Eventually(t, func(c *require.Assertions) {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(configMaps)
		c.NoError(plane.Client.List(t.Context(), list, client.MatchingLabels{v1alpha1.LabelClientOwner: string(apps[0].UID)}))
		c.Empty(list.Items)
	})
}
