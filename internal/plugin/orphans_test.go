// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// marked makes a client under an external id.
func marked(t *testing.T, server *tokenservertest.Instance, externalID string) string {
	t.Helper()
	api, err := registrar.New(registrar.Config{URL: server.URL, ClientID: server.AdminClientID, ClientSecret: server.AdminClientSecret})
	require.NoError(t, err)
	defer api.Close()
	made, err := api.Register(t.Context(), externalID, registrar.Fields{
		ClientName: new("foreign"), GrantTypes: &[]string{oauth.GrantClientCredentials}, Audience: new("internal"),
		RedirectURIs: &[]string{}, PublicKeys: &[]string{}, Scopes: &[]string{},
	})
	require.NoError(t, err)
	return made.App.ClientID
}

func (a *team) orphans(t *testing.T, p *site) []Orphan {
	t.Helper()
	p.out.Reset()
	p.Output = OutputJSON
	require.NoError(t, p.Orphans(t.Context(), OrphansOptions{TokenServer: a.server.Name}))
	p.Output = OutputText
	var found Orphans
	require.NoError(t, json.Unmarshal(p.out.Bytes(), &found))
	return found.Clients
}

// isThere tells whether the token server has a client.
func (a *team) isThere(t *testing.T, clientID string) bool {
	t.Helper()
	_, err := a.instance.Store.App(t.Context(), clientID)
	return err == nil
}

func TestOrphansAreThoseThatTheManagerCounts(t *testing.T) {
	often := testenv.WithOptions(func(o *controller.Options) { o.ResyncInterval = 500 * time.Millisecond })
	stop := plane.StartManager(t, often)
	a := newTeam(t)
	platform := a.as(t, "platform")
	platform.Client = plane.Client
	require.Empty(t, a.orphans(t, platform))
	require.NoError(t, platform.Orphans(t.Context(), OrphansOptions{TokenServer: a.server.Name}))
	require.Equal(t, "No client of this cluster was left behind on TokenServer "+a.server.Name+".\n", platform.said.String())

	alive := a.made(t, "alive", v1alpha1.ConditionReady, v1alpha1.ReasonReady)
	left := a.made(t, "left", v1alpha1.ConditionReady, v1alpha1.ReasonReady, func(app *v1alpha1.ConnectedApp) { app.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	adopted := a.made(t, "adopted", v1alpha1.ConditionReady, v1alpha1.ReasonReady, func(app *v1alpha1.ConnectedApp) { app.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	require.NoError(t, plane.Client.Delete(t.Context(), left))
	require.NoError(t, plane.Client.Delete(t.Context(), adopted))
	a.list(t, adopted.Status.ClientID)
	a.made(t, "adopter", v1alpha1.ConditionReady, v1alpha1.ReasonReady, func(app *v1alpha1.ConnectedApp) {
		app.Annotations = map[string]string{v1alpha1.AnnotationAdoptClientID: adopted.Status.ClientID}
	})
	byHand := registered(t, a.instance).ClientID
	foreign := marked(t, a.instance, "another-cluster/payments/shop/4711")

	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(a.server), a.server))
		c.NotNil(a.server.Status.OrphanedClients)
		c.Equal([]v1alpha1.ClientID{v1alpha1.ClientID(left.Status.ClientID)}, a.server.Status.OrphanedClients.ClientIDs)
	})
	found := a.orphans(t, platform)
	require.Len(t, found, 1)
	require.Equal(t, left.Status.ClientID, found[0].ClientID)
	require.Equal(t, a.Namespace+"/left", found[0].ConnectedApp)
	require.NotZero(t, found[0].CreatedAt)

	// One that the manager could not delete yet is told apart.
	stop()
	waits := ownership.Owner{Cluster: string(plane.ReadNamespace(t, "kube-system").UID), Key: client.ObjectKey{Namespace: a.Namespace, Name: "waits"}, UID: "4711"}
	waiting := marked(t, a.instance, waits.String())
	tombstone := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, GenerateName: "tombstone-", Labels: map[string]string{v1alpha1.LabelTombstone: "true"}},
		Data:       map[string]string{"tokenServer": a.server.Name, "externalID": waits.String(), "clientID": waiting},
	}
	plane.Create(t, tombstone)
	t.Cleanup(func() { _ = plane.Client.Delete(t.Context(), tombstone) })
	a.Plugin = platform.Plugin
	a.out, a.said = platform.out, platform.said
	orphans := func(o OrphansOptions) func() error {
		o.TokenServer = a.server.Name
		return func() error { return a.Orphans(t.Context(), o) }
	}
	a.says(t, "orphans.txt", orphans(OrphansOptions{}))
	a.Output = OutputName
	a.out.Reset()
	require.NoError(t, orphans(OrphansOptions{})())
	require.Equal(t, left.Status.ClientID+"\n"+waiting+"\n", a.out.String())
	a.Output = OutputText

	// What is anybody's stays.
	for id, says := range map[string]string{
		alive.Status.ClientID:    "is named by ConnectedApp " + a.Namespace + "/alive",
		adopted.Status.ClientID:  "is named by ConnectedApp " + a.Namespace + "/adopter",
		byHand:                   "was made by other means",
		foreign:                  "was made for ConnectedApp payments/shop of another cluster",
		waiting:                  "is deleted by the manager as soon as it can",
		a.instance.AdminClientID: "there is no client", // it is no app
		"nothing":                "there is no client nothing",
	} {
		err := orphans(OrphansOptions{ClientIDs: []string{id, left.Status.ClientID}})()
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "nothing was deleted")
		require.True(t, a.isThere(t, left.Status.ClientID))
	}

	asked := ""
	answer := func(yes bool) func(string) (bool, error) {
		return func(question string) (bool, error) { asked = question; return yes, nil }
	}
	require.EqualError(t, orphans(OrphansOptions{ClientIDs: []string{left.Status.ClientID}, Confirm: answer(false)})(), "nothing was deleted")
	require.Contains(t, asked, left.Status.ClientID+" ("+a.Namespace+"/left), of ConnectedApp "+a.Namespace+"/left\n")
	require.True(t, a.isThere(t, left.Status.ClientID))

	// A client that somebody asks for while a person thinks is theirs.
	taken := func(string) (bool, error) {
		a.asleep(t, "late", func(app *v1alpha1.ConnectedApp) {
			app.Annotations = map[string]string{v1alpha1.AnnotationAdoptClientID: left.Status.ClientID}
		})
		return true, nil
	}
	require.ErrorContains(t, orphans(OrphansOptions{All: true, Confirm: taken})(), "is named by ConnectedApp "+a.Namespace+"/late")
	require.True(t, a.isThere(t, left.Status.ClientID))
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":null}}`))
	require.NoError(t, plane.Client.Patch(t.Context(), &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "late"}}, release))

	a.says(t, "orphans-deleted.txt", orphans(OrphansOptions{All: true, Confirm: answer(true)}))
	require.False(t, a.isThere(t, left.Status.ClientID))
	for _, id := range []string{alive.Status.ClientID, adopted.Status.ClientID, byHand, foreign, waiting} {
		require.True(t, a.isThere(t, id))
	}
}

// Errors name the right that is missing, and a token takes the place of the Secret.
func TestWhoMayListOrphans(t *testing.T) {
	s := newSite(t)
	instance := tokenservertest.Start(t)
	server := plane.TokenServer(t, instance)
	a := &team{site: s, instance: instance, server: server}
	left := marked(t, instance, ownership.Owner{
		Cluster: string(plane.ReadNamespace(t, "kube-system").UID), Key: client.ObjectKey{Namespace: s.Namespace, Name: "left"}, UID: "4711",
	}.String())
	list := func(p *site, token string) error {
		return p.Orphans(t.Context(), OrphansOptions{TokenServer: server.Name, Token: token})
	}
	require.EqualError(t, list(s.as(t, "member", appTeam...), ""), "you may not read TokenServer "+server.Name)

	platform := s.platformTeam(t)
	require.ErrorContains(t, list(platform, ""), "you may not read Secret "+server.Name+" in namespace "+testenv.SystemNamespace)
	require.ErrorContains(t, list(platform, ""), "or give --token-file with an access token that has the scope read:orgconnapps")

	token, err := tokenOf(t.Context(), &refresher.Credentials{
		ClientID: instance.AdminClientID, ClientSecret: instance.AdminClientSecret, TokenURL: instance.URL + oauth.PathToken, AuthMethod: oauth.AuthMethodSecretPost,
	}, nil)
	require.NoError(t, err)
	require.ErrorContains(t, list(platform, token.AccessToken), "you may not read namespace kube-system")
	reads := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reads-" + s.Namespace}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"namespaces", "configmaps"}, Verbs: []string{"get", "list"}},
	}}
	plane.Create(t, reads)
	t.Cleanup(func() { _ = plane.Client.Delete(t.Context(), reads) })
	platform = s.platformTeam(t, reads.Name)
	err = list(platform, "wrong-token")
	require.ErrorContains(t, err, "TokenServer "+server.Name+": ")
	require.NotContains(t, err.Error(), "wrong-token")
	require.NoError(t, list(platform, token.AccessToken))
	require.Contains(t, platform.out.String(), left)
	require.Contains(t, platform.out.String(), "To delete one, with a token that has the scope manage:orgconnapps: "+
		"kubectl connectedapp orphans --token-server "+server.Name+" --token-file FILE --delete CLIENT_ID\n")
	require.NotContains(t, platform.out.String()+platform.said.String(), token.AccessToken)
	require.True(t, slices.ContainsFunc(a.orphans(t, s), func(o Orphan) bool { return o.ClientID == left }))

	// Nobody can log in as a manager that does so as its ServiceAccount.
	secretless := plane.TokenServer(t, instance, func(s *v1alpha1.TokenServer) {
		s.Spec.Credentials = v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsServiceAccount, ClientID: left}
	})
	require.ErrorContains(t, s.Orphans(t.Context(), OrphansOptions{TokenServer: secretless.Name}), "or give --token-file")
	s.out.Reset()
	require.NoError(t, s.Orphans(t.Context(), OrphansOptions{TokenServer: secretless.Name, Token: token.AccessToken}))
	require.Contains(t, s.out.String(), left)
	require.ErrorContains(t, s.Orphans(t.Context(), OrphansOptions{TokenServer: secretless.Name, Token: token.AccessToken, ClientIDs: []string{left}}),
		"client "+left+" is what the manager logs in with")
	require.True(t, a.isThere(t, left))

	instance.Stop(t)
	err = list(s, "")
	require.ErrorContains(t, err, "TokenServer "+server.Name+": ")
	require.NotContains(t, err.Error(), instance.AdminClientSecret)
}
