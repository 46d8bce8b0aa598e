// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// trusting is a token server that trusts the tests' API server, which it calls
// prod, by tokens for the audience prod; and by the name and audience other, as it
// were another cluster.
func trusting(t *testing.T) tokenservertest.Option {
	t.Helper()
	raw, err := rest.HTTPClientFor(plane.Config)
	require.NoError(t, err)
	base := "https://" + strings.TrimSuffix(strings.TrimPrefix(plane.Config.Host, "https://"), "/")
	get := func(path string) []byte {
		response, err := raw.Get(base + path)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return text
	}
	var document struct{ Issuer string }
	require.NoError(t, json.Unmarshal(get("/.well-known/openid-configuration"), &document))
	file := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(file, get("/openid/v1/jwks"), 0o600))
	keys, err := workload.NewKeyFile(file)
	require.NoError(t, err)
	issuers, err := workload.New([]workload.Issuer{
		{Name: "prod", URL: document.Issuer, Audience: "prod", Source: keys}, {Name: "other", URL: document.Issuer, Audience: "other", Source: keys},
	}, time.Now)
	require.NoError(t, err)
	return tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Workloads = issuers })
}

// called sets what the token server calls the cluster.
func (w *world) called(name string) {
	w.Helper()
	w.update(w.server, func() { w.server.Spec.WorkloadIssuer = name })
}

func byAccounts(names ...string) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount}
		for _, name := range names {
			a.Spec.Credentials.ServiceAccounts = append(a.Spec.Credentials.ServiceAccounts, v1alpha1.ServiceAccountReference{Name: name})
		}
	}
}

// accounts makes ServiceAccounts.
func (w *world) accounts(names ...string) {
	w.Helper()
	for _, name := range names {
		plane.Create(w, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}})
	}
}

// tokenRequest asks for a token as a Pod of a ServiceAccount does.
func (w *world) tokenRequest(clientID, account, audience string) int {
	w.Helper()
	return w.asserted(clientID, w.projected(account, audience))
}

// projected is a token of a ServiceAccount as the kubelet projects it.
func (w *world) projected(account, audience string) string {
	w.Helper()
	made := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: new(int64(3600))}}
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: account}}
	require.NoError(w, plane.Client.SubResource("token").Create(w.Context(), object, made))
	return made.Status.Token
}

// asserted is the answer to a token request with a client assertion.
func (w *world) asserted(clientID, assertion string) int {
	w.Helper()
	answer, err := http.PostForm(w.instance.URL+oauth.PathToken, url.Values{
		"grant_type": {oauth.GrantClientCredentials}, "client_id": {clientID},
		"client_assertion_type": {oauth.AssertionTypeJWTBearer}, "client_assertion": {assertion},
	})
	require.NoError(w, err)
	require.NoError(w, answer.Body.Close())
	return answer.StatusCode
}

// configMap reads a ConfigMap of the namespace.
func (w *world) configMap(name string) *corev1.ConfigMap {
	w.Helper()
	configMap := &corev1.ConfigMap{}
	require.NoError(w, plane.Client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, configMap))
	return configMap
}

// absent tells whether there is no object of that name.
func (w *world) absent(name string, o client.Object) bool {
	return apierrors.IsNotFound(plane.Client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, o))
}

func identity(issuer, namespace, name string) storage.FederatedIdentity {
	return storage.FederatedIdentity{IssuerName: issuer, Subject: "system:serviceaccount:" + namespace + ":" + name}
}

// liveSecrets are those the server accepts for the app.
func (w *world) liveSecrets(app *v1alpha1.ConnectedApp) int {
	w.Helper()
	n := 0
	for _, s := range w.registered(app).Secrets {
		if s.Live(time.Now()) {
			n++
		}
	}
	return n
}

// What the manager publishes and the kubelet projects is all that the refresher
// needs: no Secret, no flag.
func TestThePodOfAnAppWithoutASecretGetsItsToken(t *testing.T) {
	for _, preset := range []v1alpha1.KeyPreset{v1alpha1.PresetKebab, v1alpha1.PresetEnv} {
		t.Run(string(preset), func(t *testing.T) {
			w := start(t, trusting(t))
			w.called("prod")
			w.accounts("gitproxy", "other")
			w.ready(w.app(byAccounts("gitproxy"), func(a *v1alpha1.ConnectedApp) {
				a.Spec.Credentials.Secret = &v1alpha1.CredentialsSecretSpec{Preset: preset}
			}))
			directory := t.TempDir()
			write := func(name, content string) {
				require.NoError(t, os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600))
			}
			for key, value := range w.configMap("app-credentials").Data {
				write(key, value)
			}
			source := &refresher.EndpointSource{Credentials: (&refresher.Directory{Path: directory}).Credentials}
			_, err := source.Token(t.Context())
			require.Equal(t, refresher.ReasonCredentialsInvalid, refresher.ReasonOf(err), "it waits for the kubelet")

			write("service-account-token", w.projected("gitproxy", "prod"))
			token, err := source.Token(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, token.AccessToken)

			write("service-account-token", w.projected("other", "prod"))
			_, err = source.Token(t.Context())
			require.Equal(t, refresher.ReasonRequestRefused, refresher.ReasonOf(err))
			require.ErrorContains(t, err, "system:serviceaccount:"+w.namespace+":other")
		})
	}
}

// The life of an app without a client secret anywhere, and its changes to one with
// a secret and back.
func TestServiceAccountsAreAnApp(t *testing.T) {
	w := start(t, trusting(t))
	w.called("prod")
	w.accounts("gitproxy", "other", "default-2")
	app := w.ready(w.app(byAccounts("gitproxy"), func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials.Secret = &v1alpha1.CredentialsSecretSpec{Preset: v1alpha1.PresetEnv, Metadata: &v1alpha1.SecretMetadata{Labels: map[string]v1alpha1.LabelValue{"team": "a"}}}
	}))
	require.Equal(t, "Current", string(testenv.KStatus(t, app)))
	require.Equal(t, "registered as client "+app.Status.ClientID+", id and addresses are in ConfigMap app-credentials",
		testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message)
	require.Nil(t, app.Status.Binding)
	require.Equal(t, "app-credentials", app.Status.ConfigMap.Name)
	require.Empty(t, app.Status.Secrets)

	published := w.configMap("app-credentials")
	require.Equal(t, map[string]string{"team": "a", v1alpha1.LabelConnectedApp: "app"}, published.Labels)
	require.Equal(t, app.UID, metav1.GetControllerOf(published).UID)
	require.Equal(t, app.Status.ClientID, published.Data["CLIENT_ID"])
	require.Equal(t, w.instance.URL+oauth.PathToken, published.Data["TOKEN_URL"])
	require.Equal(t, "private_key_jwt", published.Data["AUTH_METHOD"])
	require.Equal(t, []string{
		"AUTHORIZATION_URL", "AUTH_METHOD", "CLIENT_ID", "INTROSPECTION_URL", "ISSUER_URL", "JWKS_URL", "PROVIDER", "SCOPES", "TOKEN_URL", "TYPE", "USERINFO_URL",
	}, slices.Sorted(maps.Keys(published.Data)))
	var secrets corev1.SecretList
	require.NoError(t, plane.Client.List(t.Context(), &secrets, client.InNamespace(w.namespace)))
	require.Empty(t, secrets.Items)

	registered := w.registered(app)
	require.Equal(t, "private_key_jwt", registered.TokenEndpointAuthMethod)
	require.Empty(t, registered.Secrets)
	require.Equal(t, []storage.FederatedIdentity{identity("prod", w.namespace, "gitproxy")}, registered.FederatedIdentities)
	require.Equal(t, http.StatusOK, w.tokenRequest(app.Status.ClientID, "gitproxy", "prod"))
	require.Equal(t, http.StatusUnauthorized, w.tokenRequest(app.Status.ClientID, "gitproxy", "other"))
	require.Equal(t, http.StatusUnauthorized, w.tokenRequest(app.Status.ClientID, "other", "prod"))

	w.update(app, func() { byAccounts("gitproxy", "other")(app) })
	w.ready(app)
	require.Equal(t, http.StatusOK, w.tokenRequest(app.Status.ClientID, "other", "prod"))
	require.Equal(t, app.Status.ClientID, w.configMap("app-credentials").Data["client-id"], "the preset is another")
	require.NotContains(t, w.configMap("app-credentials").Data, "CLIENT_ID")

	w.update(app, func() { app.Spec.Credentials = nil })
	w.ready(app)
	require.Nil(t, app.Status.ConfigMap)
	require.Equal(t, "app-credentials", app.Status.Binding.Name)
	require.True(t, w.absent("app-credentials", &corev1.ConfigMap{}))
	require.Equal(t, http.StatusUnauthorized, w.tokenRequest(app.Status.ClientID, "gitproxy", "prod"))
	secret := w.secret("app-credentials")
	w.requireWorks(secret)

	w.update(app, func() { byAccounts("gitproxy")(app) })
	w.ready(app)
	require.Nil(t, app.Status.Binding)
	require.True(t, w.absent("app-credentials", &corev1.Secret{}))
	require.Empty(t, app.Status.Secrets)
	require.Zero(t, w.liveSecrets(app))
	code, _ := requestToken(t, w.instance.URL+oauth.PathToken, app.Status.ClientID, string(secret.Data["client-secret"]))
	require.Equal(t, http.StatusUnauthorized, code)
	require.Equal(t, http.StatusOK, w.tokenRequest(app.Status.ClientID, "gitproxy", "prod"))

	w.deleted(app)
	require.True(t, w.absent("app-credentials", &corev1.ConfigMap{}))
	require.Empty(t, w.clients())
}

// The ConfigMap is kept as Secrets are.
func TestTheConfigMapIsTheAppsAndNobodyElses(t *testing.T) {
	w := start(t, trusting(t))
	w.called("prod")
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "app-credentials"}, Data: map[string]string{"a": "b"}}
	plane.Create(t, theirs)
	app := w.condition(w.app(byAccounts("gitproxy")), v1alpha1.ConditionReady, v1alpha1.ReasonSecretNameTaken)
	require.Equal(t, "ConfigMap app-credentials exists and was not made for this ConnectedApp; it was left as it is: "+
		"name another in spec.credentials.secret.name, or remove it", testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message)
	require.Equal(t, theirs.Data, w.configMap("app-credentials").Data)

	w.update(app, func() { app.Spec.Credentials.Secret = &v1alpha1.CredentialsSecretSpec{Name: "first"} })
	w.ready(app)
	w.update(app, func() { app.Spec.Credentials.Secret.Name = "second" })
	w.ready(app)
	require.True(t, w.absent("first", &corev1.ConfigMap{}))
	require.Equal(t, "second", app.Status.ConfigMap.Name)

	edited := w.configMap("second")
	edited.Data["token-url"], edited.Data["mine"] = "https://evil.example/", "stays"
	require.NoError(t, plane.Client.Update(t.Context(), edited))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Equal(w.instance.URL+oauth.PathToken, w.configMap("second").Data["token-url"])
	})
	require.Equal(t, "stays", w.configMap("second").Data["mine"])
	require.NoError(t, plane.Client.Delete(t.Context(), w.configMap("second")))
	testenv.Eventually(t, func(c *require.Assertions) { c.False(w.absent("second", &corev1.ConfigMap{})) })

	w.deleted(app)
	require.True(t, w.absent("second", &corev1.ConfigMap{}))
	require.Equal(t, theirs.Data, w.configMap("app-credentials").Data)
}

// Whoever may edit the ConfigMap, or a Secret, cannot have credentials sent
// elsewhere for long: by an address beside ours that readers prefer, by hiding ours
// where it is not looked for, or by making the object unchangeable.
func TestNobodyKeepsAnAddressOfTheirOwnInWhatIsPublished(t *testing.T) {
	w := start(t, trusting(t))
	w.called("prod")
	app := w.ready(w.app(byAccounts("gitproxy")))
	healthy := w.configMap("app-credentials").Data
	mine := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Name = "mine" }))
	before := w.secret("mine-credentials").Data
	for name, edit := range map[string]func(c *corev1.ConfigMap){
		"an address that is preferred": func(c *corev1.ConfigMap) { c.Data["internal-token-url"] = "https://evil.example/" },
		"as another preset has it": func(c *corev1.ConfigMap) {
			c.Data["INTERNAL_TOKEN_URL"], c.Data["ca_crt"] = "https://evil.example/", "x"
		},
		"in binaryData": func(c *corev1.ConfigMap) {
			delete(c.Data, "token-url")
			c.BinaryData = map[string][]byte{"token-url": []byte("https://evil.example/")}
		},
		"preferred, in binaryData": func(c *corev1.ConfigMap) {
			c.BinaryData = map[string][]byte{"internal-token-url": []byte("https://evil.example/")}
		},
		"immutable": func(c *corev1.ConfigMap) { c.Data["token-url"], c.Immutable = "https://evil.example/", new(true) },
	} {
		t.Run(name, func(t *testing.T) {
			testenv.Eventually(t, func(c *require.Assertions) { // or repairs become rare
				c.NoError(w.read(app))
				app.Status.SecretRepairs = nil
				c.NoError(plane.Client.Status().Update(t.Context(), app))
			})
			edited := w.configMap("app-credentials")
			edited.Data["mine"] = "stays"
			edit(edited)
			require.NoError(t, plane.Client.Update(t.Context(), edited))
			testenv.Eventually(t, func(c *require.Assertions) {
				now := &corev1.ConfigMap{} // which is away for a moment when it is made anew
				c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(edited), now))
				c.Equal("stays", now.Data["mine"])
				delete(now.Data, "mine")
				c.Equal(healthy, now.Data)
				c.Empty(now.BinaryData)
			})
			w.ready(app)
		})
	}
	edited := w.secret("mine-credentials")
	edited.Data["internal-token-url"], edited.Data["CLIENT_ID"], edited.Immutable = []byte("https://evil.example/"), edited.Data["client-id"], new(true)
	require.NoError(t, plane.Client.Update(t.Context(), edited))
	testenv.Eventually(t, func(c *require.Assertions) {
		now := &corev1.Secret{}
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(edited), now))
		c.Equal(before["client-id"], now.Data["CLIENT_ID"], "it says the same")
		delete(now.Data, "CLIENT_ID")
		c.Equal(before, now.Data, "with the same client secret")
	})
	w.ready(mine)
}

// An app changes over when what it then needs can be written, not before.
func TestAnAppKeepsItsSecretUntilTheConfigMapCanBeWritten(t *testing.T) {
	w := start(t, trusting(t))
	w.called("prod")
	w.accounts("gitproxy")
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "app-credentials"}, Data: map[string]string{"a": "b"}}
	plane.Create(t, theirs)
	app := w.ready(w.app())
	w.update(app, func() { byAccounts("gitproxy")(app) })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSecretNameTaken)
	w.requireWorks(w.secret("app-credentials"))
	w.update(app, func() { app.Spec.Credentials.Secret = &v1alpha1.CredentialsSecretSpec{Name: "other"} })
	w.ready(app)
	require.Equal(t, http.StatusOK, w.tokenRequest(app.Status.ClientID, "gitproxy", "prod"))
	require.True(t, w.absent("app-credentials", &corev1.Secret{}))

	plane.Create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "other"}})
	w.update(app, func() {
		app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Secret: app.Spec.Credentials.Secret}
	})
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSecretNameTaken)
	require.Equal(t, http.StatusOK, w.tokenRequest(app.Status.ClientID, "gitproxy", "prod"))
}

// Two apps that want the Secret and the ConfigMap of one another give way.
func TestTwoAppsCanSwapASecretAndAConfigMap(t *testing.T) {
	w := start(t, trusting(t))
	w.called("prod")
	w.accounts("gitproxy")
	both := withSecret(v1alpha1.CredentialsSecretSpec{Name: "both"})
	one := w.ready(w.app(both, func(a *v1alpha1.ConnectedApp) { a.Name = "one" }))
	two := w.ready(w.app(byAccounts("gitproxy"), func(a *v1alpha1.ConnectedApp) {
		a.Name, a.Spec.Credentials.Secret = "two", &v1alpha1.CredentialsSecretSpec{Name: "both"}
	}))
	w.update(one, func() {
		byAccounts("gitproxy")(one)
		one.Spec.Credentials.Secret = &v1alpha1.CredentialsSecretSpec{Name: "both"}
	})
	w.condition(one, v1alpha1.ConditionReady, v1alpha1.ReasonSecretNameTaken)
	w.requireWorks(w.secret("both"))
	w.update(two, func() { both(two) })
	w.ready(one)
	w.ready(two)
	require.Equal(t, one.Status.ClientID, w.configMap("both").Data["client-id"])
	require.Equal(t, two.Status.ClientID, string(w.secret("both").Data["client-id"]))
	w.requireWorks(w.secret("both"))
}

func TestTheClientOfServiceAccountsIsKept(t *testing.T) {
	w := start(t, trusting(t))
	w.called("prod")
	w.accounts("gitproxy", "default")
	w.update(w.server, func() { w.server.Spec.Access[0].AllowDefaultServiceAccount = new(true) })
	app := w.ready(w.app(byAccounts("gitproxy", "default")))
	require.Equal(t, http.StatusOK, w.tokenRequest(app.Status.ClientID, "default", "prod"))

	w.tamper(app, func(a *storage.App) {
		a.FederatedIdentities = append(a.FederatedIdentities, identity("prod", "evil", "x"))
	})
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionDrifted).Message, "credentials.serviceAccounts: [evil:x of prod, "+w.namespace+":default of prod")
	require.Len(t, w.registered(app).FederatedIdentities, 2)

	id := app.Status.ClientID
	_, err := w.instance.Store.DeleteApp(t.Context(), id, time.Now())
	require.NoError(t, err)
	testenv.Eventually(t, func(c *require.Assertions) {
		back, err := w.instance.Store.App(t.Context(), id)
		c.NoError(err, "it comes back under its id")
		c.Len(back.FederatedIdentities, 2)
		c.Empty(back.Secrets)
	})
	w.ready(app)

	w.update(app, func() { app.Spec.Suspend = new(true) })
	w.update(w.server, func() { w.server.Spec.Access[0].AllowDefaultServiceAccount = nil })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Equal([]storage.FederatedIdentity{identity("prod", w.namespace, "gitproxy")}, w.registered(app).FederatedIdentities)
	})
	require.Equal(t, http.StatusUnauthorized, w.tokenRequest(id, "default", "prod"))
	w.update(app, func() { app.Spec.Suspend = nil })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonNotAllowed)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message,
		"ServiceAccount default (rule all allows others, and this one only with allowDefaultServiceAccount)")
	w.update(app, func() { byAccounts("gitproxy")(app) })
	w.ready(app)
	require.Equal(t, http.StatusOK, w.tokenRequest(id, "gitproxy", "prod"))
}

// Each cluster has its name on the token server, and nobody guesses it.
func TestAnAppIsOfTheClusterThatTheTokenServerKnows(t *testing.T) {
	w := start(t, trusting(t))
	w.accounts("gitproxy")
	app := w.condition(w.app(byAccounts("gitproxy")), v1alpha1.ConditionReady, v1alpha1.ReasonSecretlessNotPossible)
	require.True(t, status.IsTrue(app, v1alpha1.ConditionStalled))
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message, "the platform team sets spec.workloadIssuer of the TokenServer")
	require.Empty(t, w.clients())
	w.called("staging")
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonRejected)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message, `there is no workload issuer "staging"; there are prod, other`)
	w.called("prod")
	w.ready(app)
	require.Equal(t, http.StatusOK, w.tokenRequest(app.Status.ClientID, "gitproxy", "prod"))
	w.called("other")
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Equal([]storage.FederatedIdentity{identity("other", w.namespace, "gitproxy")}, w.registered(app).FederatedIdentities)
	})
	require.Equal(t, http.StatusUnauthorized, w.tokenRequest(app.Status.ClientID, "gitproxy", "prod"))
	require.Equal(t, http.StatusOK, w.tokenRequest(app.Status.ClientID, "gitproxy", "other"))
}

// A server that could not authenticate the app gets no client that nobody can
// use, and an app that has a secret keeps it.
func TestAServerThatCannotDoWithoutSecrets(t *testing.T) {
	for name, row := range map[string]struct {
		option tokenservertest.Option
		change func(*testing.T, *v1alpha1.ConnectedApp)
		says   string
	}{
		"no workloads": {
			tokenservertest.WithMiddleware(func(next http.Handler) http.Handler { return next }),
			func(_ *testing.T, a *v1alpha1.ConnectedApp) { byAccounts("gitproxy")(a) }, "it does not offer the extension federated_identities",
		},
		"a plain platform": {
			tokenservertest.WithMiddleware(tokenservertest.Plain),
			func(_ *testing.T, a *v1alpha1.ConnectedApp) { byAccounts("gitproxy")(a) }, "it does not offer the extension federated_identities",
		},
		"no keys": {
			tokenservertest.WithMiddleware(tokenservertest.Without("token_endpoint_auth_methods_supported")),
			func(t *testing.T, a *v1alpha1.ConnectedApp) { signsWith(newSigningKey(t))(a) }, "does not offer private_key_jwt",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, row.option)
			w.called("prod")
			app := w.ready(w.app())
			w.update(app, func() { row.change(t, app) })
			w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSecretlessNotPossible)
			require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message, row.says)
			w.requireWorks(w.secret("app-credentials"))
			require.True(t, w.absent("app-credentials", &corev1.ConfigMap{}))
			w.deleted(app)
			require.True(t, w.absent("app-credentials", &corev1.Secret{}))
		})
	}
}

func newSigningKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func signsWith(key *ecdsa.PrivateKey) func(*v1alpha1.ConnectedApp) {
	return func(a *v1alpha1.ConnectedApp) {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			panic(err)
		}
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsPrivateKey}
		a.Spec.PublicKeys = []v1alpha1.PublicKey{{PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}}
	}
}

// signed is the answer to a token request that the app signs.
func (w *world) signed(clientID string, key *ecdsa.PrivateKey) int {
	w.Helper()
	assertion, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": clientID, "sub": clientID, "aud": w.instance.URL + oauth.IssuerPath, "jti": uuid.NewString(), "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString(key)
	require.NoError(w, err)
	return w.asserted(clientID, assertion)
}

func TestAnAppSignsWithItsKey(t *testing.T) {
	w := start(t)
	key := newSigningKey(t)
	app := w.ready(w.app(signsWith(key)))
	require.Equal(t, "app-credentials", app.Status.Binding.Name)
	require.Empty(t, app.Status.Secrets)
	published := w.secret("app-credentials")
	require.NotContains(t, published.Data, "client-secret")
	require.Equal(t, "private_key_jwt", string(published.Data["auth-method"]))
	require.NotContains(t, published.Annotations, v1alpha1.AnnotationSecretID)
	require.Empty(t, w.registered(app).Secrets)
	require.Equal(t, http.StatusOK, w.signed(app.Status.ClientID, key))

	next := newSigningKey(t)
	w.update(app, func() { signsWith(next)(app) })
	w.ready(app)
	require.Equal(t, http.StatusUnauthorized, w.signed(app.Status.ClientID, key))
	require.Equal(t, http.StatusOK, w.signed(app.Status.ClientID, next))

	id := app.Status.ClientID
	_, err := w.instance.Store.DeleteApp(t.Context(), id, time.Now())
	require.NoError(t, err)
	testenv.Eventually(t, func(c *require.Assertions) {
		back, err := w.instance.Store.App(t.Context(), id)
		c.NoError(err, "it comes back under its id")
		c.Empty(back.Secrets)
		c.Equal(http.StatusOK, w.signed(id, next))
	})

	w.update(app, func() { app.Spec.Credentials, app.Spec.PublicKeys = nil, nil })
	w.ready(app)
	secret := w.secret("app-credentials")
	w.requireWorks(secret)
	require.Equal(t, http.StatusUnauthorized, w.signed(id, next))

	w.update(app, func() { signsWith(next)(app) })
	w.ready(app)
	require.Empty(t, app.Status.Secrets)
	require.Zero(t, w.liveSecrets(app))
	require.NotContains(t, w.secret("app-credentials").Data, "client-secret")
	require.NotContains(t, w.secret("app-credentials").Annotations, v1alpha1.AnnotationSecretHash)
	code, _ := requestToken(t, w.instance.URL+oauth.PathToken, id, string(secret.Data["client-secret"]))
	require.Equal(t, http.StatusUnauthorized, code)
	require.Equal(t, http.StatusOK, w.signed(id, next))
}

// Nobody, however the client on the server is changed, has a client secret put
// into a ConfigMap.
func TestNoSecretGetsIntoAConfigMap(t *testing.T) {
	w := start(t, trusting(t))
	w.called("prod")
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.DriftPolicy = v1alpha1.DriftReport }))
	value := string(w.secret("app-credentials").Data["client-secret"])
	w.update(app, func() { byAccounts("gitproxy")(app) })
	w.ready(app)
	w.tamper(app, func(a *storage.App) { a.TokenEndpointAuthMethod = "client_secret_post" })
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Equal("client_secret_post", w.configMap("app-credentials").Data["auth-method"], "what is there is told")
	})
	text, err := yamlOf(w.configMap("app-credentials"))
	require.NoError(t, err)
	require.NotContains(t, text, value)
	require.NotContains(t, text, "client-secret")
}

func TestACrashDuringAChangeOfCredentialsLosesNothing(t *testing.T) {
	accounts := byAccounts("gitproxy")
	usual := func(a *v1alpha1.ConnectedApp) { a.Spec.Credentials = nil }
	for name, row := range map[string]struct {
		from, to func(*v1alpha1.ConnectedApp)
	}{"to ServiceAccounts": {usual, accounts}, "to a Secret": {accounts, usual}} {
		t.Run(name, func(t *testing.T) {
			crash(t, false, func(w *world, app *v1alpha1.ConnectedApp) {
				w.called("prod")
				w.update(app, func() { row.from(app) })
				settle(w, app)
				w.update(app, func() { row.to(app) })
			}, isReady, func(w *world, app *v1alpha1.ConnectedApp) {
				require.Len(w, w.clients(), 1)
				if app.Spec.Credentials == nil {
					checkOneValidClient(w, app)
					require.True(w, w.absent("app-credentials", &corev1.ConfigMap{}))
					return
				}
				require.Equal(w, app.Status.ClientID, w.configMap("app-credentials").Data["client-id"])
				require.True(w, w.absent("app-credentials", &corev1.Secret{}))
				require.Zero(w, w.liveSecrets(app))
				require.Equal(w, []storage.FederatedIdentity{identity("prod", w.namespace, "gitproxy")}, w.registered(app).FederatedIdentities)
			}, trusting(t))
		})
	}
}
