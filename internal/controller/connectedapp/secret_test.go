// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

func withSecret(spec v1alpha1.CredentialsSecretSpec) func(*v1alpha1.ConnectedApp) {
	return func(app *v1alpha1.ConnectedApp) {
		app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Secret: &spec}
	}
}

func TestADeletedSecretComesBack(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	before := w.secret("app-credentials")
	require.NoError(t, plane.Client.Delete(t.Context(), before))

	testenv.Eventually(t, func(c *require.Assertions) {
		var secret corev1.Secret
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(before), &secret))
		c.NotEqual(before.UID, secret.UID)
	})
	after := w.secret("app-credentials")
	w.requireWorks(after)
	require.Equal(t, before.Data["client-id"], after.Data["client-id"], "it is the same client")
	w.requireWorks(before) // for a day, who read it before is not cut off
	w.ready(app)
	require.Len(t, w.registered(app).Secrets, 2)
}

func TestAnEditedSecretIsRestored(t *testing.T) {
	w := start(t)
	w.ready(w.app(withSecret(v1alpha1.CredentialsSecretSpec{
		Metadata: &v1alpha1.SecretMetadata{Labels: map[string]v1alpha1.LabelValue{"team": "payments"}},
	})))
	before := w.secret("app-credentials")
	for name, change := range map[string]func(*corev1.Secret){
		"a value":                func(s *corev1.Secret) { s.Data["token-url"] = []byte("https://evil.example/token") },
		"a key is missing":       func(s *corev1.Secret) { delete(s.Data, "issuer-url") },
		"a label of the spec":    func(s *corev1.Secret) { s.Labels["team"] = "mallory" },
		"the label of the cache": func(s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelSecret) },
		"all labels and notes":   func(s *corev1.Secret) { s.Labels = nil },
	} {
		t.Run(name, func(t *testing.T) {
			secret := before.DeepCopy()
			w.update(secret, func() { change(secret) })
			testenv.Eventually(t, func(c *require.Assertions) {
				c.NoError(w.read(secret))
				c.Equal(before.Data, secret.Data)
				c.Equal(before.Labels, secret.Labels)
				c.Equal(before.Annotations, secret.Annotations)
			})
		})
	}
	t.Run("the client secret", func(t *testing.T) {
		secret := before.DeepCopy()
		w.update(secret, func() { secret.Data["client-secret"] = []byte("not what the server made") })
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(w.read(secret))
			c.NotEqual("not what the server made", string(secret.Data["client-secret"]))
		})
		w.requireWorks(secret)
	})
}

func TestWhatOthersAddToASecretStays(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	secret := w.secret("app-credentials")
	w.update(secret, func() {
		secret.Data["cookie-secret"] = []byte("mine")
		secret.Annotations["example.com/note"] = "mine"
		delete(secret.Data, "token-url")
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(secret))
		c.NotEmpty(secret.Data["token-url"])
	})
	require.Equal(t, "mine", string(secret.Data["cookie-secret"]))
	require.Equal(t, "mine", secret.Annotations["example.com/note"])
	w.ready(app)
}

func TestPresetsAndNames(t *testing.T) {
	w := start(t)
	for name, row := range map[string]struct {
		spec v1alpha1.CredentialsSecretSpec
		id   string
		kind corev1.SecretType
	}{
		"kebab":          {spec: v1alpha1.CredentialsSecretSpec{Name: "a"}, id: "client-id"},
		"snake":          {spec: v1alpha1.CredentialsSecretSpec{Name: "b", Preset: "snake"}, id: "client_id"},
		"env":            {spec: v1alpha1.CredentialsSecretSpec{Name: "c", Preset: "env"}, id: "CLIENT_ID"},
		"servicebinding": {spec: v1alpha1.CredentialsSecretSpec{Name: "d", Preset: "servicebinding"}, id: "client-id", kind: "servicebinding.io/oauth2"},
		"one renamed":    {spec: v1alpha1.CredentialsSecretSpec{Name: "e", Preset: "env", Keys: map[string]v1alpha1.SecretKey{"client-id": "OIDC_ID"}}, id: "OIDC_ID"},
	} {
		t.Run(name, func(t *testing.T) {
			app := w.ready(w.app(withSecret(row.spec), func(a *v1alpha1.ConnectedApp) { a.Name = "app-" + row.spec.Name }))
			secret := w.secret(row.spec.Name)
			require.Equal(t, app.Status.ClientID, string(secret.Data[row.id]))
			if row.kind != "" {
				require.Equal(t, row.kind, secret.Type)
			}
			require.Equal(t, row.spec.Name, app.Status.Binding.Name)
		})
	}
}

// A change of how the Secret is written is no reason for another client secret.
func TestAnotherPresetKeepsTheClientSecret(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	value := string(w.secret("app-credentials").Data["client-secret"])
	for _, preset := range []v1alpha1.KeyPreset{"env", "servicebinding", "snake", "kebab"} {
		w.update(app, func() { withSecret(v1alpha1.CredentialsSecretSpec{Preset: preset})(app) })
		w.ready(app)
		secret := w.secret("app-credentials")
		key := map[v1alpha1.KeyPreset]string{"env": "CLIENT_SECRET", "servicebinding": "client-secret", "snake": "client_secret", "kebab": "client-secret"}[preset]
		require.Equal(t, value, string(secret.Data[key]), preset)
		for other := range secret.Data {
			require.True(t, (preset == "env") == (other == upper(other)) || other == "type" || other == "scopes" || other == "provider",
				"%s is left over in preset %s", other, preset)
		}
	}
	require.Len(t, w.registered(app).Secrets, 1)
}

func upper(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c >= 'a' && c <= 'z' {
			out[i] = c - 'a' + 'A'
		}
	}
	return string(out)
}

func TestMetadataThatIsRemovedFromTheSpecGoes(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(withSecret(v1alpha1.CredentialsSecretSpec{Metadata: &v1alpha1.SecretMetadata{
		Labels:      map[string]v1alpha1.LabelValue{"team": "payments", "tier": "gold"},
		Annotations: map[string]v1alpha1.AnnotationValue{"example.com/a": "b"},
	}})))
	require.Equal(t, "gold", w.secret("app-credentials").Labels["tier"])
	w.update(app, func() {
		withSecret(v1alpha1.CredentialsSecretSpec{Metadata: &v1alpha1.SecretMetadata{Labels: map[string]v1alpha1.LabelValue{"team": "payments"}}})(app)
	})
	w.ready(app)
	secret := w.secret("app-credentials")
	require.NotContains(t, secret.Labels, "tier")
	require.NotContains(t, secret.Annotations, "example.com/a")
	require.Equal(t, "payments", secret.Labels["team"])
}

func TestARenamedSecretReplacesTheFormer(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	w.update(app, func() { withSecret(v1alpha1.CredentialsSecretSpec{Name: "other"})(app) })
	w.ready(app)
	w.requireWorks(w.secret("other"))
	err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "app-credentials"}, &corev1.Secret{})
	require.True(t, apierrors.IsNotFound(err), "the former Secret is left over")
}

func TestTheSecretOfSomebodyElseIsLeftAlone(t *testing.T) {
	w := start(t)
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: "app-credentials",
			// A label proves nothing: anybody can set it.
			Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretManaged, v1alpha1.LabelConnectedApp: "app"},
		},
		StringData: map[string]string{"client-secret": "theirs", "client-id": "theirs"},
	}
	plane.Create(t, foreign)
	version := foreign.ResourceVersion

	app := w.condition(w.app(), v1alpha1.ConditionReady, v1alpha1.ReasonSecretNameTaken)
	require.Equal(t, "Failed", string(testenv.KStatus(t, app)))
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message, "app-credentials")
	require.Empty(t, w.clients(), "nothing is registered that nobody could use")
	require.NoError(t, w.read(foreign))
	require.Equal(t, version, foreign.ResourceVersion)

	require.NoError(t, plane.Client.Delete(t.Context(), foreign))
	w.update(app, func() { app.Spec.ClientName = "again" })
	w.ready(app)
	w.requireWorks(w.secret("app-credentials"))
}

func TestDeletingAnAppLeavesTheSecretOfSomebodyElse(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	secret := w.secret("app-credentials")
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(secret))) })
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
	require.Empty(t, w.clients())
}

func TestANativeAppIsRegisteredWithItsOwnScheme(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.ClientType, a.Spec.GrantTypes = v1alpha1.ClientPublic, []v1alpha1.GrantType{"authorization_code"}
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{"com.example.app:/callback", "https://app.example.com"}
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "openid"}}
	}))
	require.Equal(t, []string{"com.example.app:/callback", "https://app.example.com"}, w.registered(app).RedirectURIs, "unchanged")
}

func TestAPublicClientHasNoSecret(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.ClientType = v1alpha1.ClientPublic
		a.Spec.GrantTypes, a.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []v1alpha1.RedirectURI{"https://app.example.com/cb"}
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "openid"}, {Scope: "profile"}}
	}))
	secret := w.secret("app-credentials")
	require.NotContains(t, secret.Data, "client-secret")
	require.Equal(t, "none", string(secret.Data["auth-method"]))
	require.Equal(t, "openid profile", string(secret.Data["scopes"]))
	require.Empty(t, w.registered(app).Secrets)
	require.Empty(t, app.Status.Secrets)

	w.update(app, func() { app.Spec.ClientType = v1alpha1.ClientConfidential })
	w.ready(app)
	require.NotEmpty(t, w.secret("app-credentials").Data["client-secret"])
	w.update(app, func() { app.Spec.ClientType = v1alpha1.ClientPublic })
	w.ready(app)
	require.NotContains(t, w.secret("app-credentials").Data, "client-secret")
}

func existing(name string) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: name}}
	}
}

func TestAnExistingSecretIsWaitedForAndNeverInvented(t *testing.T) {
	w := start(t)
	app := w.condition(w.app(existing("vault")), v1alpha1.ConditionReady, v1alpha1.ReasonWaitingForSecret)
	require.Equal(t, "InProgress", string(testenv.KStatus(t, app)))
	require.Empty(t, w.clients(), "no client with a secret that nobody knows")

	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vault"},
		StringData: map[string]string{"client-secret": "chosen-by-somebody-else-1"},
	}
	plane.Create(t, secret)
	w.update(app, func() { app.Spec.ClientName = "look again" })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSecretNotShared)

	w.update(secret, func() { secret.Labels = map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced} })
	w.ready(app)
	require.Equal(t, "app-credentials", app.Status.Binding.Name)
	companion := w.secret("app-credentials")
	require.Equal(t, app.Status.ClientID, string(companion.Data["client-id"]))
	require.NotContains(t, companion.Data, "client-secret", "that is in the Secret of others")
	tokenURL := string(companion.Data["token-url"])
	requireToken(t, tokenURL, app.Status.ClientID, "chosen-by-somebody-else-1")

	w.update(secret, func() { secret.Data["client-secret"] = []byte("chosen-by-somebody-else-2") })
	testenv.Eventually(t, func(c *require.Assertions) {
		status, _ := requestToken(t, tokenURL, app.Status.ClientID, "chosen-by-somebody-else-2")
		c.Equal(http.StatusOK, status)
	})
	w.ready(app)

	w.update(secret, func() { secret.Data["client-secret"] = []byte("short") })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonInvalidSecret)
	requireToken(t, tokenURL, app.Status.ClientID, "chosen-by-somebody-else-2")

	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
	require.NoError(t, w.read(secret), "it is not ours to delete")
}
