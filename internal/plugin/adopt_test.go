// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

var quickly = WaitOptions{Timeout: time.Minute, Every: 50 * time.Millisecond}

// asleep is an app that has no client, since it is suspended.
func (a *team) asleep(t *testing.T, name string, change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	t.Helper()
	change = append([]func(*v1alpha1.ConnectedApp){func(app *v1alpha1.ConnectedApp) {
		app.Name, app.Spec.Suspend, app.Spec.Scopes = name, new(true), []v1alpha1.ScopeAssignment{{Scope: "profile"}}
	}}, change...)
	return plane.CreateApp(t, testenv.App(a.Namespace, a.server.Name, change...))
}

func wake(t *testing.T, app *v1alpha1.ConnectedApp) {
	t.Helper()
	require.NoError(t, plane.Client.Patch(t.Context(), app, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":false}}`))))
}

// list puts a client into the team's access rule.
func (a *team) list(t *testing.T, clientID string) {
	t.Helper()
	patch := `[{"op":"add","path":"/spec/access/0/clientIDs","value":["` + clientID + `"]}]`
	require.NoError(t, plane.Client.Patch(t.Context(), a.server, client.RawPatch(types.JSONPatchType, []byte(patch))))
}

// answers holds what a command of the team answers to testdata/NAME; what is said
// while it waits depends on when it looks.
func (a *team) answers(t *testing.T, name string, do func() error) {
	t.Helper()
	a.says(t, name, func() error {
		err := do()
		a.said.Reset()
		return err
	})
}

func annotation(t *testing.T, app *v1alpha1.ConnectedApp) string {
	t.Helper()
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
	return app.Annotations[v1alpha1.AnnotationAdoptClientID]
}

// An app team gives an app a client that was made by hand, and hears what became
// of it.
func TestAnAppTeamAdoptsAClient(t *testing.T) {
	plane.StartManager(t)
	a := newTeam(t)
	handmade := registered(t, a.instance)
	adopt := func(name string) func() error {
		return func() error { return a.Adopt(t.Context(), name, handmade.ClientID, quickly) }
	}
	app := a.asleep(t, "asleep")
	a.answers(t, "adopt-suspended.txt", adopt("asleep"))
	require.Equal(t, handmade.ClientID, annotation(t, app))

	// Apps that have no client, since they name one that there is not.
	mistaken := func(app *v1alpha1.ConnectedApp) {
		app.Annotations = map[string]string{v1alpha1.AnnotationAdoptClientID: "mistaken"}
	}
	for _, name := range []string{"early", "gitproxy"} {
		app = a.made(t, name, v1alpha1.ConditionRegistered, v1alpha1.ReasonAdoptionRefused, mistaken)
	}
	a.answers(t, "adopt-refused.txt", adopt("early"))
	take := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":null}}`))
	require.NoError(t, plane.Client.Patch(t.Context(), &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "early"}}, take))
	a.list(t, handmade.ClientID)
	a.answers(t, "adopt.txt", adopt("gitproxy"))
	secret := &corev1.Secret{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: a.Namespace, Name: "gitproxy-credentials"}, secret))
	require.Equal(t, handmade.ClientID, string(secret.Data["client-id"]))
	require.NotContains(t, a.out.String()+a.said.String(), string(secret.Data["client-secret"]))

	a.answers(t, "adopt-again.txt", adopt("gitproxy"))
	a.answers(t, "adopt-another.txt", func() error { return a.Adopt(t.Context(), "gitproxy", "another", quickly) })
	require.Equal(t, handmade.ClientID, annotation(t, app), "nothing is written for what would be refused")

	a.Client = a.as(t, "nobody").Client
	a.answers(t, "adopt-no-rights.txt", adopt("gitproxy"))
}

// Who may read the access rules is told before anything is written.
func TestWhatTheManagerWouldRefuseIsNotAskedFor(t *testing.T) {
	plane.StartManager(t)
	a := newTeam(t)
	handmade := registered(t, a.instance)
	platform := a.platformTeam(t, "system:aggregate-to-view", "system:aggregate-to-edit", "connectedapps-aggregate-to-edit", "system:controller:generic-garbage-collector")

	existing := func(app *v1alpha1.ConnectedApp) {
		app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: app.Name}}
	}
	secret := func(name string, data map[string]string) {
		plane.Create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: a.Namespace, Name: name, Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
		}, StringData: data})
	}
	secret("others", map[string]string{"client-id": "another", "client-secret": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"})
	secret("wrong", map[string]string{"client-id": handmade.ClientID, "client-secret": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"})
	secret("right", map[string]string{"client-id": handmade.ClientID, "client-secret": handmade.ClientSecret})
	for name, row := range map[string]struct {
		app      *v1alpha1.ConnectedApp
		clientID string
		says     string
	}{
		"a client that no rule lists": {a.asleep(t, "unlisted"), handmade.ClientID, "the app may not adopt client " + handmade.ClientID + ": an access rule of TokenServer " + a.server.Name},
		"what is no id":               {a.asleep(t, "noid"), "a b", "is no client id"},
		"a Secret of another client":  {a.asleep(t, "others", existing), handmade.ClientID, "secret others says that it holds the credentials of another client"},
		"a Secret that is not right":  {a.asleep(t, "wrong", existing), handmade.ClientID, "the token server does not accept the secret in secret wrong"},
		"no Secret":                   {a.asleep(t, "missing", existing), handmade.ClientID, "there is no Secret missing"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, platform.Adopt(t.Context(), row.app.Name, row.clientID, quickly), row.says)
			require.Empty(t, annotation(t, row.app))
		})
	}
	require.ErrorContains(t, platform.Adopt(t.Context(), "nothing", "x", quickly), "there is no ConnectedApp nothing in namespace")

	// With the right one nobody need list it.
	app := a.asleep(t, "right", existing)
	require.NoError(t, platform.Adopt(t.Context(), "right", handmade.ClientID, quickly))
	wake(t, app)
	platform.Output = OutputJSON
	platform.out.Reset()
	require.NoError(t, platform.Adopt(t.Context(), "right", handmade.ClientID, quickly))
	var done Adopted
	require.NoError(t, json.Unmarshal(platform.out.Bytes(), &done))
	require.True(t, done.Done)
	a.told(t, "right", "ClientAdopted")
	require.NotContains(t, platform.out.String()+platform.said.String(), handmade.ClientSecret)
}
