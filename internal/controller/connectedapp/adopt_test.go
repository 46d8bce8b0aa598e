// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

const madeByHand = "Made by hand"

// handmade registers a client by other means, under an external id or without.
func (w *world) handmade(externalID string) *oauth.ConnectedApp {
	w.Helper()
	api, err := registrar.New(registrar.Config{URL: w.instance.URL, ClientID: w.instance.AdminClientID, ClientSecret: w.instance.AdminClientSecret})
	require.NoError(w, err)
	name, audience := madeByHand, "internal"
	answer, err := api.Register(w.Context(), externalID, registrar.Fields{
		ClientName: &name, GrantTypes: &[]string{oauth.GrantClientCredentials}, Audience: &audience,
		RedirectURIs: &[]string{}, PublicKeys: &[]string{}, Scopes: &[]string{},
	})
	require.NoError(w, err)
	return &answer.App
}

// allow lists clients in the TokenServer's access rule.
func (w *world) allow(ids ...string) {
	w.Helper()
	w.update(w.server, func() {
		w.server.Spec.Access[0].ClientIDs = nil
		for _, id := range ids {
			w.server.Spec.Access[0].ClientIDs = append(w.server.Spec.Access[0].ClientIDs, v1alpha1.ClientID(id))
		}
	})
}

func adopts(id string) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, v1alpha1.AnnotationAdoptClientID, id)
	}
}

// vault makes a Secret with a client's credentials that may be read.
func (w *world) vault(name, clientID, secret string) {
	w.Helper()
	data := map[string]string{"client-secret": secret}
	if clientID != "" {
		data["client-id"] = clientID
	}
	plane.Create(w, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
		StringData: data,
	})
}

func fromVault(name string) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: name}}
	}
}

// remembered counts the ConfigMaps that remember what is an object's.
func (w *world) remembered(app *v1alpha1.ConnectedApp) int {
	w.Helper()
	var list corev1.ConfigMapList
	require.NoError(w, plane.Client.List(w.Context(), &list, client.InNamespace(testenv.SystemNamespace), client.MatchingLabels{v1alpha1.LabelClientOwner: string(app.UID)}))
	return len(list.Items)
}

func (w *world) stored(id string) storage.App {
	w.Helper()
	app, err := w.instance.Store.App(w.Context(), id)
	require.NoError(w, err)
	return app
}

// deleted waits until an object is gone.
func (w *world) deleted(app *v1alpha1.ConnectedApp) {
	w.Helper()
	require.NoError(w, plane.Client.Delete(w.Context(), app))
	testenv.Eventually(w, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
}

func TestAClientThatARuleListsIsAdopted(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app(adopts(made.ClientID)))
	require.Equal(t, made.ClientID, app.Status.ClientID)
	w.requireWorks(w.secret("app-credentials"))
	requireToken(t, w.instance.URL+oauth.PathToken, made.ClientID, made.ClientSecret)
	require.Equal(t, w.namespace+"/app", w.registered(app).Name, "it is as the spec says")
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Contains(w.events(), "Normal ClientAdopted: client "+made.ClientID+", which was not made for this ConnectedApp, is adopted; "+
			"changed to what the spec says: clientName: Made by hand, should be "+w.namespace+"/app; scopes: [], should be [view:environment]")
	})
	for _, s := range w.registered(app).Secrets {
		require.True(t, s.ExpiresAt.IsZero() || s.ExpiresAt.After(time.Now().Add(300*24*time.Hour)), "what it had before stays valid")
	}

	// It is the app's now, whatever becomes of annotation and rule.
	w.update(app, func() { app.Annotations = nil })
	w.allow()
	w.tamper(app, func(a *storage.App) { a.Name = "Mallory" })
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Contains(testenv.Condition(app.Status.Conditions, v1alpha1.ConditionDrifted).Message+w.registered(app).Name, w.namespace+"/app")
	})
	w.ready(app)
	require.Empty(t, w.clients(), "none was made")
	require.Equal(t, 1, w.remembered(app))

	w.deleted(app)
	_, err := w.instance.Store.App(t.Context(), made.ClientID)
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.Zero(t, w.remembered(app))
}

func TestAClientIsAdoptedByItsCredentials(t *testing.T) {
	w := start(t)
	made, other := w.handmade(""), w.handmade("")
	app := w.condition(w.app(adopts(made.ClientID), fromVault("wrong")), v1alpha1.ConditionReady, v1alpha1.ReasonWaitingForSecret)
	w.vault("wrong", made.ClientID, other.ClientSecret)
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonAdoptionRefused)
	require.Empty(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionSecretPublished), "it does not wait for a Secret that is there")
	require.Equal(t, "the app may not adopt client "+made.ClientID+": the token server does not accept the secret in secret wrong as that client's; put one there that it accepts, "+
		"or ask the platform team for an access rule of TokenServer "+w.server.Name+" that lists the client in clientIDs",
		testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message)
	require.Empty(t, app.Status.ClientID)
	require.Equal(t, madeByHand, w.stored(made.ClientID).Name)

	w.vault("right", made.ClientID, made.ClientSecret)
	w.update(app, func() { fromVault("right")(app) })
	w.ready(app)
	require.Equal(t, made.ClientID, app.Status.ClientID)
	require.Equal(t, w.namespace+"/app", w.registered(app).Name)
	requireToken(t, w.instance.URL+oauth.PathToken, made.ClientID, made.ClientSecret)
	require.Equal(t, madeByHand, w.stored(other.ClientID).Name)
	require.NotContains(t, strings.Join(w.events(), "\n"), made.ClientSecret)
}

func TestWhatIsAdoptedUnderReportIsLeftAsItIs(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app(adopts(made.ClientID), func(a *v1alpha1.ConnectedApp) { a.Spec.DriftPolicy = v1alpha1.DriftReport }))
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected)
	require.Equal(t, madeByHand, w.registered(app).Name)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Contains(strings.Join(w.events(), "\n"), "is adopted; left as it is by spec.driftPolicy Report: clientName: Made by hand")
	})
	w.requireWorks(w.secret("app-credentials"))
	w.update(app, func() { app.Spec.DriftPolicy = v1alpha1.DriftRepair })
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	require.Equal(t, w.namespace+"/app", w.registered(app).Name)
}

func TestWhatIsNotTheAppsToAdopt(t *testing.T) {
	w := start(t)
	theirs := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Name = "theirs" }))
	foreign := w.handmade("another-cluster/" + w.namespace + "/app/4711")
	listed := w.handmade("")
	w.allow(theirs.Status.ClientID, foreign.ClientID, tokenservertest.OwnerID, w.instance.AdminClientID)
	w.vault("foreign", foreign.ClientID, foreign.ClientSecret)
	for name, c := range map[string]struct {
		id, reason, message string
		change              func(*v1alpha1.ConnectedApp)
	}{
		"not-allowed":                    {id: listed.ClientID, reason: v1alpha1.ReasonAdoptionRefused, message: "has to list it in clientIDs, or credentials of type ExistingSecret"},
		"another-app":                    {id: theirs.Status.ClientID, reason: v1alpha1.ReasonOwnedElsewhere, message: "belongs to another object"},
		"another-cluster":                {id: foreign.ClientID, reason: v1alpha1.ReasonOwnedElsewhere, message: "belongs to another object"},
		"another-cluster-by-credentials": {id: foreign.ClientID, reason: v1alpha1.ReasonOwnedElsewhere, message: "belongs to another object", change: fromVault("foreign")},
		"the-manager":                    {id: w.instance.AdminClientID, reason: v1alpha1.ReasonOwnedElsewhere, message: "or to the manager itself"},
		"a-user":                         {id: tokenservertest.OwnerID, reason: v1alpha1.ReasonAdoptionRefused, message: "the id is or was another's on the token server"},
		"neither-allowed-nor-there":      {id: "11111111111111111111111111111111", reason: v1alpha1.ReasonAdoptionRefused, message: "has to list it in clientIDs"},
	} {
		t.Run(name, func(t *testing.T) {
			inner := &world{T: t, instance: w.instance, server: w.server, namespace: w.namespace}
			app := inner.app(adopts(c.id), func(a *v1alpha1.ConnectedApp) {
				a.Name = name
				if c.change != nil {
					c.change(a)
				}
			})
			inner.condition(app, v1alpha1.ConditionReady, c.reason)
			ready := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady)
			require.Contains(t, ready.Message, c.message)
			require.NotContains(t, ready.Message, "theirs", "it does not tell whose")
			require.Empty(t, app.Status.ClientID)
			inner.deleted(app)
			for _, id := range []string{theirs.Status.ClientID, foreign.ClientID, listed.ClientID, w.instance.AdminClientID} {
				_, err := w.instance.Store.App(t.Context(), id)
				require.NoError(t, err, "the client is still there")
			}
		})
	}
	require.Equal(t, madeByHand, w.stored(foreign.ClientID).Name)
}

func TestAnAppWithAClientAdoptsNoOther(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app())
	own := app.Status.ClientID
	w.update(app, func() { adopts(made.ClientID)(app) })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonAdoptionRefused)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message, "but the app has client "+own+" already")
	w.tamper(app, func(a *storage.App) { a.Name = "Mallory" })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Equal(w.namespace+"/app", w.registered(app).Name, "it goes on being kept")
	})
	w.update(app, func() { app.Annotations = nil })
	w.ready(app)
	require.Equal(t, own, app.Status.ClientID)
	require.Equal(t, madeByHand, w.stored(made.ClientID).Name)
}

func TestOneOfTwoAppsAdoptsAClient(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	second := &world{T: t, instance: w.instance, server: w.server, namespace: plane.Namespace(t, nil)}
	apps := []*v1alpha1.ConnectedApp{w.app(adopts(made.ClientID)), second.app(adopts(made.ClientID))}
	worlds := []*world{w, second}
	winner := -1
	testenv.Eventually(t, func(c *require.Assertions) {
		winner = -1
		for i, app := range apps {
			c.NoError(w.read(app))
			if status.IsReady(app) {
				c.Equal(-1, winner, "both have it")
				winner = i
			} else {
				c.Equal(v1alpha1.ReasonOwnedElsewhere, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionStalled).Reason, "%+v", app.Status.Conditions)
			}
		}
		c.NotEqual(-1, winner, "nobody has it")
	})
	loser := apps[1-winner]
	require.NotContains(t, testenv.Condition(loser.Status.Conditions, v1alpha1.ConditionReady).Message, worlds[winner].namespace)
	worlds[winner].requireWorks(worlds[winner].secret("app-credentials"))

	// The loser's deletion takes nothing along, even with a status that says so.
	loser.Status.ClientID = made.ClientID
	testenv.Eventually(t, func(c *require.Assertions) {
		fresh := loser.DeepCopy()
		c.NoError(w.read(fresh))
		fresh.Status.ClientID = made.ClientID
		c.NoError(plane.Client.Status().Update(t.Context(), fresh))
	})
	w.deleted(loser)
	require.Equal(t, worlds[winner].namespace+"/app", w.stored(made.ClientID).Name)
	require.Equal(t, 1, w.remembered(apps[winner]))
}

// An orphan is for whom the platform team lists it, not for whoever kept its
// credentials.
func TestAnOrphanIsAdoptedByARuleAlone(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }))
	left := w.secret("app-credentials")
	id := app.Status.ClientID
	w.deleted(app)
	w.vault("kept", id, string(left.Data["client-secret"]))
	next := w.app(adopts(id), fromVault("kept"), func(a *v1alpha1.ConnectedApp) { a.Name = "next" })
	w.condition(next, v1alpha1.ConditionReady, v1alpha1.ReasonAdoptionRefused)
	require.Contains(t, testenv.Condition(next.Status.Conditions, v1alpha1.ConditionReady).Message, "was made for a ConnectedApp of this cluster that is gone")
	w.allow(id)
	w.ready(next)
	require.Equal(t, id, next.Status.ClientID)
	w.requireWorks(left)
	w.deleted(next)
	_, err := w.instance.Store.App(t.Context(), id)
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func TestOrphanGivesAnAdoptedClientBack(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app(adopts(made.ClientID), func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }))
	w.deleted(app)
	require.Equal(t, w.namespace+"/app", w.stored(made.ClientID).Name)
	require.Zero(t, w.remembered(app))
	requireToken(t, w.instance.URL+oauth.PathToken, made.ClientID, made.ClientSecret)
	next := w.ready(w.app(adopts(made.ClientID), func(a *v1alpha1.ConnectedApp) { a.Name = "next" }))
	require.Equal(t, made.ClientID, next.Status.ClientID)
}

func TestAnAdoptedClientGoesWithAnAppWithoutItsFinalizer(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app(adopts(made.ClientID)))
	w.tamper(app, func(a *storage.App) { a.Name = "not what proves it" })
	require.NoError(t, plane.Client.Patch(t.Context(), app, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":true}}`))))
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	_ = plane.Client.Patch(t.Context(), app, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	testenv.Eventually(t, func(c *require.Assertions) {
		_, err := w.instance.Store.App(t.Context(), made.ClientID)
		c.ErrorIs(err, storage.ErrNotFound)
	})
}

func TestAnAdoptedClientThatIsGoneComesBackAsItWas(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app(adopts(made.ClientID)))
	secret := w.secret("app-credentials")
	_, err := w.instance.Store.DeleteApp(t.Context(), made.ClientID, time.Now())
	require.NoError(t, err)
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	testenv.Eventually(t, func(c *require.Assertions) {
		code, _ := requestToken(t, w.instance.URL+oauth.PathToken, made.ClientID, string(secret.Data["client-secret"]))
		c.Equal(http.StatusOK, code)
	})
	w.ready(app)
	require.Equal(t, made.ClientID, app.Status.ClientID)
}

// A status that is lost or that somebody wrote neither takes an adopted client
// from its app nor gives it to another.
func TestAStatusIsNoProofOfAnAdoption(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app(adopts(made.ClientID)))
	w.update(app, func() { app.Annotations = nil })
	w.allow()
	other := w.app(func(a *v1alpha1.ConnectedApp) { a.Name, a.Spec.Suspend = "other", new(true) })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(other))
		other.Status = *app.Status.DeepCopy()
		c.NoError(plane.Client.Status().Update(t.Context(), other))
	})
	w.update(other, func() { other.Spec.Suspend, other.Spec.ClientName = nil, "hijacked" })
	w.condition(other, v1alpha1.ConditionReady, v1alpha1.ReasonOwnedElsewhere)
	w.update(other, func() { adopts(made.ClientID)(other) })
	w.condition(other, v1alpha1.ConditionReady, v1alpha1.ReasonAdoptionRefused)

	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(app))
		app.Status = v1alpha1.ConnectedAppStatus{}
		c.NoError(plane.Client.Status().Update(t.Context(), app))
	})
	w.update(app, func() { app.Spec.ClientURI = "https://example.com/" })
	w.ready(app)
	require.Equal(t, made.ClientID, app.Status.ClientID)
	require.Equal(t, "https://example.com/", w.registered(app).ClientURI)
	require.Equal(t, w.namespace+"/app", w.registered(app).Name)
	w.deleted(other)
	w.requireWorks(w.secret("app-credentials"))
}

func TestACrashDuringAnAdoptionLosesNothing(t *testing.T) {
	var made *oauth.ConnectedApp
	crash(t, false, func(w *world, app *v1alpha1.ConnectedApp) {
		made = w.handmade("")
		w.allow(made.ClientID)
		w.update(app, func() { adopts(made.ClientID)(app) })
	}, isReady, func(w *world, app *v1alpha1.ConnectedApp) {
		require.Empty(w, w.clients(), "none was made")
		require.Equal(w, made.ClientID, app.Status.ClientID)
		w.requireWorks(w.secret("app-credentials"))
		requireToken(w, w.instance.URL+oauth.PathToken, made.ClientID, made.ClientSecret)
		published := w.secret("app-credentials").Annotations[v1alpha1.AnnotationSecretID]
		for _, s := range w.registered(app).Secrets {
			require.True(w, s.ID == published || s.ID == made.ClientSecretID || !s.Live(time.Now()), "secret %s is valid and nobody knows it", s.ID)
		}
	})
}

// A server that was moved has another issuer, and the same clients.
func TestAnAdoptionOutlivesAMoveOfItsServer(t *testing.T) {
	w := start(t)
	made := w.handmade("")
	w.allow(made.ClientID)
	app := w.ready(w.app(adopts(made.ClientID)))
	var list corev1.ConfigMapList
	require.NoError(t, plane.Client.List(t.Context(), &list, client.InNamespace(testenv.SystemNamespace), client.MatchingLabels{v1alpha1.LabelClientOwner: string(app.UID)}))
	require.Len(t, list.Items, 1)
	before := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "adoption-of-" + w.namespace, Labels: list.Items[0].Labels}, Data: list.Items[0].Data,
	}
	before.Data["issuer"] = "https://before.example.com"
	plane.Create(t, before)
	require.NoError(t, plane.Client.Delete(t.Context(), &list.Items[0]))

	other := w.condition(w.app(adopts(made.ClientID), func(a *v1alpha1.ConnectedApp) { a.Name = "other" }), v1alpha1.ConditionReady, v1alpha1.ReasonOwnedElsewhere)
	w.tamper(app, func(a *storage.App) { a.Name = "Mallory" })
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	testenv.Eventually(t, func(c *require.Assertions) { c.Equal(w.namespace+"/app", w.registered(app).Name) })
	w.ready(app)
	w.deleted(other)
	w.deleted(app)
	_, err := w.instance.Store.App(t.Context(), made.ClientID)
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.Zero(t, w.remembered(app))
}

// Without marks and further secrets a client is adopted by its credentials alone.
func TestAnAdoptionOnAPlainPlatform(t *testing.T) {
	w := start(t, tokenservertest.WithMiddleware(tokenservertest.Plain))
	made := w.handmade("")
	w.allow(made.ClientID, "elsewhere")
	w.deleted(w.condition(w.app(adopts("elsewhere")), v1alpha1.ConditionReady, v1alpha1.ReasonClientNotFound))
	app := w.condition(w.app(adopts(made.ClientID)), v1alpha1.ConditionReady, v1alpha1.ReasonAdoptionRefused)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message, "has one secret, which making another would end")
	require.Empty(t, app.Status.ClientID)
	w.vault("vault", made.ClientID, made.ClientSecret)
	w.update(app, func() { fromVault("vault")(app) })
	w.ready(app)
	require.Equal(t, made.ClientID, app.Status.ClientID)
	requireToken(t, w.instance.URL+oauth.PathToken, made.ClientID, made.ClientSecret)
	other := w.app(adopts(made.ClientID), fromVault("vault"), func(a *v1alpha1.ConnectedApp) { a.Name = "other" })
	w.condition(other, v1alpha1.ConditionReady, v1alpha1.ReasonOwnedElsewhere)
	w.deleted(other)
	requireToken(t, w.instance.URL+oauth.PathToken, made.ClientID, made.ClientSecret)
	w.deleted(app)
	require.Zero(t, w.remembered(app))
	_, err := w.instance.Store.App(t.Context(), made.ClientID)
	require.ErrorIs(t, err, storage.ErrNotFound)
}

// An app that moves here from another server keeps its id, and its secret where there
// is one.
func TestAClientIsRegisteredUnderTheIDThatARuleLists(t *testing.T) {
	w := start(t)
	w.vault("vault", "web-shop", "the secret that it had elsewhere")
	app := w.condition(w.app(adopts("web-shop"), fromVault("vault")), v1alpha1.ConditionReady, v1alpha1.ReasonAdoptionRefused)
	_, err := w.instance.Store.App(t.Context(), "web-shop")
	require.ErrorIs(t, err, storage.ErrNotFound, "a Secret alone does not suffice")

	w.allow("web-shop", "batch.export", "phone")
	w.ready(app)
	require.Equal(t, "web-shop", app.Status.ClientID)
	requireToken(t, w.instance.URL+oauth.PathToken, "web-shop", "the secret that it had elsewhere")
	require.Len(t, w.registered(app).Secrets, 1)
	require.NotEmpty(t, w.registered(app).ExternalID, "it is this object's")

	made := w.ready(w.app(adopts("batch.export"), func(a *v1alpha1.ConnectedApp) { a.Name = "made" }))
	require.Equal(t, "batch.export", made.Status.ClientID)
	w.requireWorks(w.secret("made-credentials"))
	require.Len(t, w.registered(made).Secrets, 1)

	phone := w.ready(w.app(adopts("phone"), func(a *v1alpha1.ConnectedApp) {
		a.Name, a.Spec.ClientType, a.Spec.GrantTypes = "phone", v1alpha1.ClientPublic, []v1alpha1.GrantType{oauth.GrantAuthorizationCode}
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{"com.example.app:/callback"}
	}))
	require.Equal(t, "phone", phone.Status.ClientID)
	require.Empty(t, w.registered(phone).Secrets)

	second := w.condition(w.app(adopts("phone"), func(a *v1alpha1.ConnectedApp) { a.Name = "second" }), v1alpha1.ConditionReady, v1alpha1.ReasonOwnedElsewhere)
	require.Empty(t, second.Status.ClientID)
	w.deleted(app)
	_, err = w.instance.Store.App(t.Context(), "web-shop")
	require.ErrorIs(t, err, storage.ErrNotFound, "it goes with its object")
}

// Where no client bears a mark, a client that its object left is nobody's as well.
func TestOrphanGivesAnAdoptedClientBackOnAPlainPlatform(t *testing.T) {
	w := start(t, tokenservertest.WithMiddleware(tokenservertest.Plain))
	made := w.handmade("")
	w.allow()
	w.vault("vault", made.ClientID, made.ClientSecret)
	app := w.ready(w.app(adopts(made.ClientID), fromVault("vault"), func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }))
	w.deleted(app)
	require.Zero(t, w.remembered(app))
	next := w.ready(w.app(adopts(made.ClientID), fromVault("vault"), func(a *v1alpha1.ConnectedApp) { a.Name = "next" }))
	require.Equal(t, made.ClientID, next.Status.ClientID)
}
