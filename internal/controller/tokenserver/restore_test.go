// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// disaster is a world whose token server can be stopped, and started again on
// another database.
type disaster struct {
	*world
	folder, address string
	credentials     *corev1.Secret
	tokenServer     *v1alpha1.TokenServer
}

func newDisaster(t *testing.T) *disaster {
	t.Helper()
	d := &disaster{world: &world{T: t}, folder: t.TempDir()}
	d.server = tokenservertest.Start(t, tokenservertest.WithFolder(d.folder))
	d.address = d.server.HTTP.Listener.Addr().String()
	d.stop = plane.StartManager(t, often)
	d.name = plane.Namespace(t, nil)
	d.credentials = d.world.credentials(d.server.AdminClientSecret)
	d.create(d.credentials)
	d.tokenServer = d.world.tokenServer(func(s *v1alpha1.TokenServer) { s.Spec.Access[0].Scopes = []v1alpha1.AccessScope{{Scope: "*"}} })
	return d
}

// restart lets do change the files while the server does not run.
func (d *disaster) restart(do func()) {
	d.Helper()
	d.server.Stop(d)
	do()
	d.server = tokenservertest.Start(d, tokenservertest.WithFolder(d.folder), tokenservertest.WithAddress(d.address))
	d.edit(d.credentials, func() { d.credentials.Data["client-secret"] = []byte(d.server.AdminClientSecret) })
}

// databases are the files of the database, without the key that is kept apart.
func (d *disaster) databases(folder string) []string {
	d.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "tokenserver.db*"))
	require.NoError(d, err)
	return files
}

func (d *disaster) remove() {
	for _, file := range d.databases(d.folder) {
		require.NoError(d, os.Remove(file))
	}
}

func (d *disaster) copy(from, to string) {
	for _, file := range d.databases(from) {
		data, err := os.ReadFile(file)
		require.NoError(d, err)
		require.NoError(d, os.WriteFile(filepath.Join(to, filepath.Base(file)), data, 0o600))
	}
}

// apps makes n apps of a prefix.
func (d *disaster) apps(prefix string, n int) []*v1alpha1.ConnectedApp {
	d.Helper()
	apps := make([]*v1alpha1.ConnectedApp, n)
	for i := range apps {
		apps[i] = &v1alpha1.ConnectedApp{
			ObjectMeta: metav1.ObjectMeta{Namespace: d.name, Name: fmt.Sprintf("%s-%02d", prefix, i)},
			Spec: v1alpha1.ConnectedAppSpec{
				TokenServerRef: &v1alpha1.TokenServerReference{Name: d.name},
				GrantTypes:     []v1alpha1.GrantType{oauth.GrantClientCredentials},
				Scopes:         []v1alpha1.ScopeAssignment{{Scope: "view:environment"}},
			},
		}
		d.create(apps[i])
	}
	for _, app := range apps {
		d.appReady(app)
	}
	return apps
}

func (d *disaster) secret(app *v1alpha1.ConnectedApp) *corev1.Secret {
	d.Helper()
	secret := &corev1.Secret{}
	require.NoError(d, plane.Client.Get(d.Context(), client.ObjectKey{Namespace: d.name, Name: app.Name + "-credentials"}, secret))
	return secret
}

// authenticates tells whether a workload that has read its Secret long ago gets a
// token.
func (d *disaster) authenticates(secret *corev1.Secret) bool {
	form := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {string(secret.Data["client-id"])}, "client_secret": {string(secret.Data["client-secret"])}}
	answer, err := http.PostForm(string(secret.Data["token-url"]), form)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// held is what workloads hold.
func (d *disaster) held(apps []*v1alpha1.ConnectedApp) map[string]*corev1.Secret {
	d.Helper()
	held := map[string]*corev1.Secret{}
	for _, app := range apps {
		held[app.Name] = d.secret(app)
		require.True(d, d.authenticates(held[app.Name]))
	}
	return held
}

// acceptIt answers the question that the disaster raises.
func (d *disaster) acceptIt() {
	d.Helper()
	stalled := d.ready(d.tokenServer, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	d.accept(d.tokenServer, answerTo(d.T, stalled.Message))
	d.ready(d.tokenServer, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// healed waits until every workload gets tokens with what it holds, and every
// client is as its spec says.
func (d *disaster) healed(apps []*v1alpha1.ConnectedApp, held map[string]*corev1.Secret) {
	d.Helper()
	for _, app := range apps {
		testenv.EventuallyWithin(d, time.Minute, func(c *require.Assertions) {
			c.True(d.authenticates(held[app.Name]), "app %s", app.Name)
			c.NoError(plane.Client.Get(d.Context(), client.ObjectKeyFromObject(app), app))
			c.Equal(string(held[app.Name].Data["client-id"]), app.Status.ClientID)
			c.Equal(held[app.Name].Data, d.secret(app).Data)
			registered, err := d.server.Store.App(d.Context(), app.Status.ClientID)
			c.NoError(err)
			c.Len(registered.ContextScopes, len(app.Spec.Scopes), "app %s: revision %d of %s, compared %+v, status %+v", app.Name, registered.Revision, registered.UpdatedAt, app.Status.Compared, app.Status)
		})
		d.appReady(app)
	}
}

// made are the clients on the server that bear a mark.
func (d *disaster) made() int {
	d.Helper()
	list, _, err := d.server.Store.Apps(d.Context(), storage.AppQuery{OrgID: d.server.OrgID, Limit: 1000})
	require.NoError(d, err)
	n := 0
	for _, app := range list {
		if app.ExternalID != "" {
			n++
		}
	}
	return n
}

func TestALostServerHealsWithoutItsConsumersNoticing(t *testing.T) {
	d := newDisaster(t)
	apps := d.apps("app", 30)
	held := d.held(apps)
	d.restart(d.remove)
	d.acceptIt()
	d.healed(apps, held)
	require.Equal(t, 30, d.made())
	d.orphaned(d.tokenServer)
}

func TestAnOlderServerHealsWithoutItsConsumersNoticing(t *testing.T) {
	d := newDisaster(t)
	apps := d.apps("app", 30)
	leaving := d.apps("leaving", 3)
	backup := t.TempDir()
	d.restart(func() { d.copy(d.folder, backup) })
	d.ready(d.tokenServer, metav1.ConditionTrue, v1alpha1.ReasonReady)

	// What the backup knows nothing of: new apps, secrets and scopes, and that some
	// apps are gone.
	apps = append(apps, d.apps("new", 12)...)
	for _, app := range apps[:5] {
		before := d.secret(app)
		require.NoError(t, plane.Client.Delete(t.Context(), before))
		testenv.Eventually(t, func(c *require.Assertions) {
			now := &corev1.Secret{}
			c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(before), now))
			c.NotEqual(before.Data["client-secret"], now.Data["client-secret"])
		})
	}
	for _, app := range apps[3:8] {
		d.edit(app, func() { app.Spec.Scopes = append(app.Spec.Scopes, v1alpha1.ScopeAssignment{Scope: "read:stats"}) })
		d.appReady(app)
	}
	var left []string
	for _, app := range leaving {
		left = append(left, app.Status.ClientID)
		require.NoError(t, plane.Client.Delete(t.Context(), app))
		testenv.Eventually(t, func(c *require.Assertions) {
			c.True(apierrors.IsNotFound(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), &v1alpha1.ConnectedApp{})))
		})
	}
	held := d.held(apps)
	require.Equal(t, 42, d.made())

	d.restart(func() { d.remove(); d.copy(backup, d.folder) })
	d.acceptIt()
	d.healed(apps, held)
	require.Equal(t, 45, d.made(), "those that were deleted are back")
	d.orphaned(d.tokenServer, left...)
}
