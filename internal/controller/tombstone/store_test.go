// SPDX-License-Identifier: Apache-2.0

package tombstone_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"connectedapps.dev/operator/internal/controller/identity"
	"connectedapps.dev/operator/internal/controller/tombstone"
	"connectedapps.dev/operator/internal/testenv"
)

func TestRememberIsSafeToRepeatAndKeepsEveryClient(t *testing.T) {
	mgr, err := ctrl.NewManager(plane.Config, ctrl.Options{Scheme: plane.Scheme, Metrics: metricsserver.Options{BindAddress: "0"}})
	require.NoError(t, err)
	identities := &identity.Records{Client: plane.Client, Live: plane.Client, Namespace: testenv.SystemNamespace}
	store, err := tombstone.NewStore(t.Context(), mgr, testenv.SystemNamespace, identities)
	require.NoError(t, err)

	server, uid := "server-"+rand.String(8), rand.String(8)
	known := identity.Identity{Issuer: "https://id.example.com", OrganizationID: "org", InstallationID: "database"}
	require.NoError(t, identities.Put(t.Context(), server, identity.Record{}, identity.Record{Identity: known}))
	t.Cleanup(func() {
		_ = plane.Client.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: identity.ConfigMapName(server)}})
	})

	first := tombstone.Client{TokenServer: server, ExternalID: "cluster/ns/app/uid", ClientID: "one", UniqueName: "connectedapp-cluster-uid"}
	second := first
	second.ClientID = "two"
	for range 2 {
		require.NoError(t, store.Remember(t.Context(), types.UID(uid), first))
		require.NoError(t, store.Remember(t.Context(), types.UID(uid), second))
	}
	var list corev1.ConfigMapList
	require.NoError(t, plane.Client.List(t.Context(), &list, client.InNamespace(testenv.SystemNamespace), client.HasLabels{"connectedapps.dev/tombstone"}))
	clients := map[string]map[string]string{}
	for _, found := range list.Items {
		if found.Data["tokenServer"] == server {
			clients[found.Data["clientID"]] = found.Data
			require.NoError(t, plane.Client.Delete(t.Context(), &found))
		}
	}
	require.Len(t, clients, 2)
	require.Equal(t, map[string]string{
		"tokenServer": server, "issuer": "https://id.example.com", "organizationID": "org", "installationID": "database",
		"externalID": "cluster/ns/app/uid", "clientID": "one", "uniqueName": "connectedapp-cluster-uid",
	}, clients["one"], "the server is the one that is known")
}
