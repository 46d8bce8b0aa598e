// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

func TestAppIsRegisteredAndItsSecretWorks(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:environment"}, {Scope: "profile"}, {Scope: "read:stats"}}
	}))

	require.Equal(t, "Current", string(testenv.KStatus(t, app)))
	require.NotEmpty(t, app.Status.ClientID)
	require.Equal(t, "app-credentials", app.Status.Binding.Name)
	require.Len(t, app.Status.Secrets, 1)

	secret := w.secret("app-credentials")
	data := map[string]string{}
	for k, v := range secret.Data {
		data[k] = string(v)
	}
	issuer := w.instance.URL + oauth.IssuerPath
	require.Equal(t, app.Status.ClientID, data["client-id"])
	require.Equal(t, issuer, data["issuer-url"])
	require.Equal(t, w.instance.URL+oauth.PathToken, data["token-url"])
	require.Equal(t, "view:environment profile read:stats", data["scopes"], "those of the spec, in its order")
	require.Equal(t, "client_secret_post", data["auth-method"])
	require.Equal(t, "oauth2", data["type"])
	require.Equal(t, "connectedapps", data["provider"])
	require.Equal(t, corev1.SecretTypeOpaque, secret.Type)
	requireToken(t, data["token-url"], data["client-id"], data["client-secret"])

	registered, err := w.instance.Store.App(t.Context(), app.Status.ClientID)
	require.NoError(t, err)
	require.Equal(t, w.namespace+"/app", registered.Name)
	require.Len(t, registered.Secrets, 1, "one registration makes one secret")
}

// requireToken obtains a token with the credentials, as a workload does.
func requireToken(t testing.TB, tokenURL, clientID, clientSecret string) {
	t.Helper()
	status, body := requestToken(t, tokenURL, clientID, clientSecret)
	require.Equal(t, http.StatusOK, status, "%s", body.Error)
}

func requestToken(t testing.TB, tokenURL, clientID, clientSecret string) (int, oauth.ErrorResponse) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {clientSecret}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	var body oauth.ErrorResponse
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&body))
	return answer.StatusCode, body
}
