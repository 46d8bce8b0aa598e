// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var first, second *testenv.ControlPlane

func TestMain(m *testing.M) {
	var err error
	if second, err = testenv.Start(); err != nil {
		panic(err)
	}
	code := testenv.Run(m, &first)
	if err := second.Stop(); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// cluster is one with a namespace of a name that the other has too.
type cluster struct {
	*testing.T
	plane    *testenv.ControlPlane
	instance *tokenservertest.Instance
	server   *v1alpha1.TokenServer
	name     string // of the namespace
}

func start(t *testing.T, plane *testenv.ControlPlane, instance *tokenservertest.Instance, namespace string) *cluster {
	t.Helper()
	c := &cluster{T: t, plane: plane, instance: instance, name: namespace}
	plane.StartManager(t, testenv.WithOptions(func(o *controller.Options) { o.ResyncInterval = time.Second }))
	plane.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	c.server = plane.TokenServer(t, instance)
	return c
}

// startBoth starts two clusters on one token server.
func startBoth(t *testing.T, namespace string) (ours, theirs *cluster) {
	t.Helper()
	instance := tokenservertest.Start(t)
	return start(t, first, instance, namespace), start(t, second, instance, namespace)
}

func (c *cluster) app(name string, change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	c.Helper()
	app := testenv.App(c.name, c.server.Name, change...)
	app.Name = name
	return c.plane.CreateApp(c, app)
}

func (c *cluster) read(o client.Object) error {
	return c.plane.Client.Get(c.Context(), client.ObjectKeyFromObject(o), o)
}

func (c *cluster) ready(app *v1alpha1.ConnectedApp) *v1alpha1.ConnectedApp {
	c.Helper()
	testenv.Eventually(c, func(check *require.Assertions) {
		check.NoError(c.read(app))
		check.True(status.IsReady(app), "conditions: %+v", app.Status.Conditions)
	})
	return app
}

func (c *cluster) refused(app *v1alpha1.ConnectedApp, reason string) {
	c.Helper()
	testenv.Eventually(c, func(check *require.Assertions) {
		check.NoError(c.read(app))
		check.Equal(reason, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Reason, "conditions: %+v", app.Status.Conditions)
	})
}

func (c *cluster) update(o client.Object, change func()) {
	c.Helper()
	testenv.Eventually(c, func(check *require.Assertions) {
		check.NoError(c.read(o))
		change()
		check.NoError(c.plane.Client.Update(c.Context(), o))
	})
}

func (c *cluster) deleted(app *v1alpha1.ConnectedApp) {
	c.Helper()
	require.NoError(c, c.plane.Client.Delete(c.Context(), app))
	testenv.Eventually(c, func(check *require.Assertions) { check.True(apierrors.IsNotFound(c.read(app))) })
}

func (c *cluster) secret(name string) *corev1.Secret {
	c.Helper()
	secret := &corev1.Secret{}
	require.NoError(c, c.plane.Client.Get(c.Context(), client.ObjectKey{Namespace: c.name, Name: name}, secret))
	return secret
}

func (c *cluster) requireWorks(secret *corev1.Secret) {
	c.Helper()
	form := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {string(secret.Data["client-id"])}, "client_secret": {string(secret.Data["client-secret"])}}
	answer, err := http.PostForm(c.instance.URL+oauth.PathToken, form)
	require.NoError(c, err)
	require.NoError(c, answer.Body.Close())
	require.Equal(c, http.StatusOK, answer.StatusCode)
}

// registered is a client as the token server holds it.
func (c *cluster) registered(id string) storage.App {
	c.Helper()
	app, err := c.instance.Store.App(c.Context(), id)
	require.NoError(c, err)
	return app
}

// allow lists a client in the access rule of this cluster.
func (c *cluster) allow(id string) {
	c.Helper()
	c.update(c.server, func() { c.server.Spec.Access[0].ClientIDs = []v1alpha1.ClientID{v1alpha1.ClientID(id)} })
}

// vault makes a Secret that may be read with what another holds.
func (c *cluster) vault(from *corev1.Secret) {
	c.Helper()
	c.plane.Create(c, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.name, Name: "vault", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
		Data:       map[string][]byte{"client-id": from.Data["client-id"], "client-secret": from.Data["client-secret"]},
	})
}

func fromVault(a *v1alpha1.ConnectedApp) {
	a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"}}
}

func adopts(id string) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, v1alpha1.AnnotationAdoptClientID, id)
	}
}

func TestTheSameManifestIsAClientForEachCluster(t *testing.T) {
	ours, theirs := startBoth(t, "same-manifest")
	a, b := ours.ready(ours.app("app")), theirs.ready(theirs.app("app"))
	require.NotEqual(t, a.Status.ClientID, b.Status.ClientID)
	theirs.update(b, func() { b.Spec.ClientName = "of the second cluster" })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Equal("of the second cluster", theirs.registered(b.Status.ClientID).Name)
	})
	require.Equal(t, "same-manifest/app", ours.registered(a.Status.ClientID).Name)
	ours.requireWorks(ours.secret("app-credentials"))
	theirs.requireWorks(theirs.secret("app-credentials"))

	// What the one leaves behind is none of the other's business.
	ours.update(a, func() { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	ours.deleted(a)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(ours.read(ours.server))
		c.NotNil(ours.server.Status.OrphanedClients)
		c.Equal([]v1alpha1.ClientID{v1alpha1.ClientID(a.Status.ClientID)}, ours.server.Status.OrphanedClients.ClientIDs)
	})
	require.NoError(t, theirs.read(theirs.server))
	require.Zero(t, theirs.server.Status.OrphanedClients.Count)
	theirs.deleted(b)
	ours.registered(a.Status.ClientID)
}

func TestAnotherClusterTakesNothing(t *testing.T) {
	ours, theirs := startBoth(t, "takes-nothing")
	app := ours.ready(ours.app("app"))
	id, secret := app.Status.ClientID, ours.secret("app-credentials")
	ours.requireWorks(secret)
	revision := ours.registered(id).Revision
	theirs.allow(id)
	theirs.vault(secret)

	suspended := func(a *v1alpha1.ConnectedApp) { a.Spec.Suspend = new(true) }
	withStatus := func(copied *v1alpha1.ConnectedApp) {
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(theirs.read(copied))
			copied.Status = *app.Status.DeepCopy()
			c.NoError(theirs.plane.Client.Status().Update(t.Context(), copied))
		})
	}
	for name, attack := range map[string]func(t *testing.T) *v1alpha1.ConnectedApp{
		"a status that names it": func(*testing.T) *v1alpha1.ConnectedApp {
			copied := theirs.app("app", suspended)
			withStatus(copied)
			theirs.update(copied, func() { copied.Spec.Suspend, copied.Spec.ClientName = nil, "hijacked" })
			return copied
		},
		"a backup that brings object, status and Secret": func(t *testing.T) *v1alpha1.ConnectedApp {
			copied := theirs.app("app", suspended)
			withStatus(copied)
			controller := true
			stolen := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Namespace: theirs.name, Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations,
				OwnerReferences: []metav1.OwnerReference{{
					APIVersion: v1alpha1.GroupVersion.String(), Kind: "ConnectedApp", Name: copied.Name, UID: copied.UID, Controller: &controller,
				}},
			}, Data: secret.Data}
			theirs.plane.Create(t, stolen)
			theirs.update(copied, func() { copied.Spec.Suspend, copied.Spec.ClientName = nil, "hijacked" })
			return copied
		},
		"an adoption that its own platform team allows": func(*testing.T) *v1alpha1.ConnectedApp { return theirs.app("app", adopts(id)) },
		"an adoption with credentials that leaked":      func(*testing.T) *v1alpha1.ConnectedApp { return theirs.app("app", adopts(id), fromVault) },
	} {
		t.Run(name, func(t *testing.T) {
			mallory := attack(t)
			theirs.refused(mallory, v1alpha1.ReasonOwnedElsewhere)
			message := testenv.Condition(mallory.Status.Conditions, v1alpha1.ConditionReady).Message
			require.NotContains(t, message, string(app.UID))
			require.Equal(t, revision, ours.registered(id).Revision, "nothing was done to it")
			theirs.deleted(mallory)
			require.Equal(t, revision, ours.registered(id).Revision, "nor by the deletion")
		})
	}
	ours.requireWorks(secret)
	ours.ready(app)
	require.Equal(t, id, app.Status.ClientID)
}

// The mark of a client is written once, so that whoever manages the token server
// makes it anew without: docs/operator.md says how.
func TestAClientMovesToAnotherCluster(t *testing.T) {
	ours, theirs := startBoth(t, "moves")
	app := ours.ready(ours.app("app", func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }))
	id, secret := app.Status.ClientID, ours.secret("app-credentials")
	ours.deleted(app)
	theirs.vault(secret)
	moved := theirs.app("app", adopts(id), fromVault)
	theirs.refused(moved, v1alpha1.ReasonOwnedElsewhere)

	api, err := registrar.New(registrar.Config{URL: ours.instance.URL, ClientID: ours.instance.AdminClientID, ClientSecret: ours.instance.AdminClientSecret})
	require.NoError(t, err)
	require.NoError(t, api.Delete(t.Context(), id))
	name, audience, value := "moves/app", "internal", string(secret.Data["client-secret"])
	_, err = api.Register(t.Context(), "", registrar.Fields{
		ClientID: &id, ClientSecret: &value, ClientName: &name, GrantTypes: &[]string{oauth.GrantClientCredentials}, Audience: &audience,
	})
	require.NoError(t, err)
	theirs.update(moved, func() { moved.Spec.ClientURI = "https://example.com/" }) // it looks again by itself, after a minute
	theirs.ready(moved)
	require.Equal(t, id, moved.Status.ClientID)
	ours.requireWorks(secret)
	theirs.deleted(moved)
	_, err = ours.instance.Store.App(t.Context(), id)
	require.ErrorIs(t, err, storage.ErrNotFound)
}
