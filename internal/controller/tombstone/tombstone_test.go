// SPDX-License-Identifier: Apache-2.0

package tombstone_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// world is a real token server with clients nobody has an object for.
type world struct {
	*testing.T
	instance *tokenservertest.Instance
	server   *v1alpha1.TokenServer
	api      *registrar.Client
	// refuse answers requests in the place of the server that it is true for.
	refuse atomic.Pointer[func(*http.Request) bool]
	// plain lets the server be one without our extensions.
	plain bool
}

func newWorld(t *testing.T, plain bool) *world {
	t.Helper()
	w := &world{T: t, plain: plain}
	w.instance = tokenservertest.Start(t, tokenservertest.WithMiddleware(w.middleware))
	var err error
	w.api, err = registrar.New(registrar.Config{
		URL: w.instance.URL, OrganizationID: w.instance.OrgID, ClientID: w.instance.AdminClientID, ClientSecret: w.instance.AdminClientSecret,
	})
	require.NoError(t, err)
	return w
}

func (w *world) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		refuse := w.refuse.Load()
		switch {
		case refuse != nil && (*refuse)(r):
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusInternalServerError)
			_, _ = rw.Write([]byte(`{"status":500,"message":"no"}`))
		case w.plain:
			tokenservertest.Plain(next).ServeHTTP(rw, r)
		default:
			next.ServeHTTP(rw, r)
		}
	})
}

func (w *world) setRefuse(f func(*http.Request) bool) { w.refuse.Store(&f) }

func (w *world) ready() {
	w.Helper()
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(w.server), w.server))
		ready := testenv.Condition(w.server.Status.Conditions, v1alpha1.ConditionReady)
		c.Equal(metav1.ConditionTrue, ready.Status, ready.Message)
	})
}

// register makes a client, as a ConnectedApp would.
func (w *world) register(externalID, name string) string {
	w.Helper()
	grants, audience := []string{oauth.GrantClientCredentials}, oauth.AudienceInternal
	none := []string{}
	answer, err := w.api.Register(w.Context(), externalID, registrar.Fields{
		ClientName: &name, GrantTypes: &grants, Audience: &audience, RedirectURIs: &none, PublicKeys: &none, Scopes: &none,
	})
	require.NoError(w, err)
	return answer.App.ClientID
}

// remember makes a tombstone as it is written, by us or by an earlier version.
func (w *world) remember(server string, data map[string]string) *corev1.ConfigMap {
	w.Helper()
	data["tokenServer"] = server
	tombstone := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: testenv.SystemNamespace, Name: "tombstone-" + rand.String(10), Labels: map[string]string{v1alpha1.LabelTombstone: "true"},
		},
		Data: data,
	}
	plane.Create(w.T, tombstone)
	w.Cleanup(func() { _ = plane.Client.Delete(w.Context(), tombstone) })
	return tombstone
}

func (w *world) exists(clientID string) bool {
	_, err := w.instance.Store.App(w.Context(), clientID)
	return err == nil
}

func (w *world) drained(tombstone *corev1.ConfigMap) {
	w.Helper()
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.True(apierrors.IsNotFound(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(tombstone), tombstone)))
	})
}

// remembered waits for the number that the TokenServer shows.
func (w *world) remembered(n int) {
	w.Helper()
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(w.server), w.server))
		c.EqualValues(n, w.server.Status.RememberedClients)
	})
}

func events(t *testing.T, o client.Object) []string {
	t.Helper()
	list := &eventsv1.EventList{}
	require.NoError(t, plane.Client.List(t.Context(), list))
	var texts []string
	for _, e := range list.Items {
		if e.Regarding.UID == o.GetUID() {
			texts = append(texts, e.Type+" "+e.Reason+": "+e.Note)
		}
	}
	return texts
}

func toldOf(t *testing.T, o client.Object, text string) {
	t.Helper()
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Contains(strings.Join(events(t, o), "\n"), text)
	})
}

func TestATombstoneOfAServerThatIsWellIsCarriedOutAtOnce(t *testing.T) {
	w := newWorld(t, false)
	plane.StartManager(t)
	w.server = plane.TokenServer(t, w.instance)
	w.ready()
	id := w.register("cluster/ns/app/1", "ns/app")
	// No probe fails meanwhile that a recovery could follow.
	w.drained(w.remember(w.server.Name, map[string]string{"externalID": "cluster/ns/app/1", "clientID": id}))
	require.False(t, w.exists(id))
}

func TestATombstoneIsCarriedOutAfterARestart(t *testing.T) {
	w := newWorld(t, false)
	w.server = plane.TokenServer(t, w.instance)
	id := w.register("cluster/ns/app/1", "ns/app")
	tombstone := w.remember(w.server.Name, map[string]string{"externalID": "cluster/ns/app/1", "clientID": "whatever the status said"})
	plane.StartManager(t)
	w.drained(tombstone)
	require.False(t, w.exists(id))
}

func TestATombstoneWaitsForATokenServerOfItsName(t *testing.T) {
	w := newWorld(t, false)
	plane.StartManager(t)
	id := w.register("cluster/ns/app/1", "ns/app")
	name := "later-" + rand.String(6)
	tombstone := w.remember(name, map[string]string{"externalID": "cluster/ns/app/1", "clientID": id})
	testenv.Eventually(t, func(c *require.Assertions) { c.InDelta(1, metric(t, name), 0) })
	require.True(t, w.exists(id))
	w.server = plane.TokenServer(t, w.instance, func(s *v1alpha1.TokenServer) { s.Name = name })
	w.drained(tombstone)
	require.False(t, w.exists(id))
}

// metric is the number of tombstones of a TokenServer that is exported; 0 when
// none is.
func metric(t *testing.T, tokenServer string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "connectedapp_tombstones" && m.GetLabel()[0].GetValue() == tokenServer {
				return m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func TestATombstoneThatFailsKeepsNoOtherWaitingAndIsSeen(t *testing.T) {
	w := newWorld(t, false)
	plane.StartManager(t)
	w.server = plane.TokenServer(t, w.instance)
	w.ready()
	w.setRefuse(func(r *http.Request) bool { return r.URL.Query().Get("external_id") == "bad" })
	bad, good := w.register("bad", "bad"), w.register("good", "good")
	badTombstone := w.remember(w.server.Name, map[string]string{"externalID": "bad", "clientID": bad})
	goodTombstone := w.remember(w.server.Name, map[string]string{"externalID": "good", "clientID": good})
	w.drained(goodTombstone)
	require.False(t, w.exists(good))
	require.True(t, w.exists(bad))

	w.remembered(1)
	require.InDelta(t, 1, metric(t, w.server.Name), 0)
	toldOf(t, w.server, "Warning ClientsRemembered: ")
	require.Contains(t, testenv.Condition(w.server.Status.Conditions, v1alpha1.ConditionReady).Message,
		"; clients of ConnectedApps that are gone are still to be deleted on it (status.rememberedClients)")

	w.setRefuse(func(*http.Request) bool { return false })
	w.drained(badTombstone)
	require.False(t, w.exists(bad))
	w.remembered(0)
	toldOf(t, w.server, "Normal RememberedClientsDeleted: no client of a ConnectedApp that is gone is left on the server")
	require.InDelta(t, 0, metric(t, w.server.Name), 0)
}

func TestATombstoneIsNotCarriedOutOnAnotherServer(t *testing.T) {
	w := newWorld(t, false)
	plane.StartManager(t)
	w.server = plane.TokenServer(t, w.instance)
	w.ready()
	id := w.register("cluster/ns/app/1", "ns/app")
	s := w.server.Status
	for name, other := range map[string]map[string]string{
		"another database":     {"issuer": s.Issuer, "organizationID": s.OrganizationID, "installationID": "another"},
		"another organization": {"issuer": s.Issuer, "organizationID": "another", "installationID": s.InstallationID},
		"another issuer":       {"issuer": "https://id.example.com/accounts/api/v2/oauth2"},
	} {
		t.Run(name, func(t *testing.T) {
			other["externalID"], other["clientID"] = "cluster/ns/app/1", id
			tombstone := w.remember(w.server.Name, other)
			toldOf(t, tombstone, "Warning ClientKept: client "+id+" of TokenServer "+w.server.Name+", whose ConnectedApp is gone, cannot be deleted: "+
				"it was registered on another server than the one behind TokenServer "+w.server.Name+" now (")
			toldOf(t, tombstone, "delete this ConfigMap to leave the client as it is")
			require.True(t, w.exists(id))
			require.NoError(t, plane.Client.Delete(t.Context(), tombstone))
			w.remembered(0)
			require.True(t, w.exists(id))
		})
	}
	w.drained(w.remember(w.server.Name, map[string]string{
		"issuer": s.Issuer, "organizationID": s.OrganizationID, "installationID": s.InstallationID, "externalID": "cluster/ns/app/1", "clientID": id,
	}))
	require.False(t, w.exists(id))
}

// A client id comes from a status, which is no proof: whoever writes one must not
// make the manager delete a client of others.
func TestAClientIDAloneDeletesNothing(t *testing.T) {
	for name, plain := range map[string]bool{"with external ids": false, "on a plain platform": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, plain)
			plane.StartManager(t)
			w.server = plane.TokenServer(t, w.instance)
			w.ready()
			foreign, named := w.register("", "foreign"), w.register("", "ours")
			for _, id := range []string{foreign, named} {
				w.drained(w.remember(w.server.Name, map[string]string{"externalID": "ours", "clientID": id, "clientName": "ours"}))
				require.True(t, w.exists(id))
			}
			owned := w.register("somebody's", "ours")
			w.drained(w.remember(w.server.Name, map[string]string{"externalID": "ours", "clientID": owned}))
			require.True(t, w.exists(owned), "it is somebody's, whatever its name")
		})
	}
}

func TestAPlainPlatformForgetsWhatIsOurs(t *testing.T) {
	w := newWorld(t, true)
	plane.StartManager(t)
	w.server = plane.TokenServer(t, w.instance)
	w.ready()
	owned, other := w.register("", "ns/app"), w.register("", "ns/app")
	first, second := w.register("", "connectedapp-cluster-uid"), w.register("", "connectedapp-cluster-uid")
	longer := w.register("", "connectedapp-cluster-uid2")
	w.drained(w.remember(w.server.Name, map[string]string{
		"externalID": "cluster/ns/app/uid", "clientID": owned, "owned": "true", "uniqueName": "connectedapp-cluster-uid",
	}))
	for id, want := range map[string]bool{owned: false, other: true, first: false, second: false, longer: true} {
		require.Equal(t, want, w.exists(id))
	}
}

// Whose a client is when its tombstone is carried out, the manager remembers.
func TestATombstoneOfAClientThatAnotherHasNow(t *testing.T) {
	w := newWorld(t, false)
	plane.StartManager(t)
	w.server = plane.TokenServer(t, w.instance)
	w.ready()
	owners := &ownership.Records{Client: plane.Client, Live: plane.Client, Namespace: testenv.SystemNamespace}
	adopt := func(clientID, owner string) {
		record := ownership.Record{TokenServer: w.server.Name, Issuer: w.instance.URL + oauth.IssuerPath, ClientID: clientID, Owner: owner}
		require.NoError(t, owners.Claim(t.Context(), "uid", ownership.Record{}, record))
		t.Cleanup(func() {
			made, err := owners.Of(context.Background(), w.server.Name, record.Issuer, clientID)
			require.NoError(t, err)
			require.NoError(t, owners.Forget(context.Background(), made))
		})
	}
	left := w.register("cluster/ns/app/1", "ns/app")
	adopt(left, "cluster/ns/next/2")
	w.drained(w.remember(w.server.Name, map[string]string{"externalID": "cluster/ns/app/1", "clientID": left}))
	require.True(t, w.exists(left), "another object has it by now")

	made := w.register("", "made by hand")
	w.drained(w.remember(w.server.Name, map[string]string{"externalID": "cluster/ns/app/3", "clientID": made, "owned": "true"}))
	require.False(t, w.exists(made), "it was the object's, whatever its name")

	other := w.register("", "ns/app")
	adopt(other, "cluster/ns/next/4")
	w.drained(w.remember(w.server.Name, map[string]string{"externalID": "cluster/ns/app/5", "clientID": other, "owned": "true"}))
	require.True(t, w.exists(other), "another object took it over since")
}

// An app may have taken a client over and have one of its own beside it, when the
// former was gone and came back with a copy of the server.
func TestATombstoneOfAClientBesideOneThatBearsTheMark(t *testing.T) {
	w := newWorld(t, false)
	plane.StartManager(t)
	w.server = plane.TokenServer(t, w.instance)
	w.ready()
	marked, owned := w.register("cluster/ns/app/6", "ns/app"), w.register("", "made by hand")
	w.drained(w.remember(w.server.Name, map[string]string{"externalID": "cluster/ns/app/6", "clientID": owned, "owned": "true"}))
	require.False(t, w.exists(marked))
	require.False(t, w.exists(owned))
}
