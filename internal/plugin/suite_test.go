// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// site is a namespace and the plugin in it.
type site struct {
	*Plugin
	out, said *bytes.Buffer
}

func newSite(t *testing.T) *site {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	require.NoError(t, plane.Client.Create(t.Context(), namespace))
	s := &site{out: &bytes.Buffer{}, said: &bytes.Buffer{}}
	s.Plugin = &Plugin{Client: plane.Client, Namespace: namespace.Name, Out: s.out, Err: s.said}
	return s
}

// app makes a ConnectedApp, with a status as the manager writes it.
func (s *site) app(t *testing.T, name string, change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	t.Helper()
	app := &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name},
		Spec: v1alpha1.ConnectedAppSpec{
			GrantTypes: []v1alpha1.GrantType{"client_credentials"}, Scopes: []v1alpha1.ScopeAssignment{{Scope: "profile"}},
		},
	}
	for _, f := range change {
		f(app)
	}
	status := app.Status
	require.NoError(t, plane.Client.Create(t.Context(), app))
	app.Status = status
	require.NoError(t, plane.Client.Status().Update(t.Context(), app))
	return app
}

func (s *site) accessToken(t *testing.T, name string, change ...func(*v1alpha1.AccessToken)) {
	t.Helper()
	token := &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: "gitproxy"}},
	}
	for _, f := range change {
		f(token)
	}
	status := token.Status
	require.NoError(t, plane.Client.Create(t.Context(), token))
	token.Status = status
	require.NoError(t, plane.Client.Status().Update(t.Context(), token))
}

func (s *site) secret(t *testing.T, name string, data map[string][]byte) {
	t.Helper()
	require.NoError(t, plane.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}, Data: data}))
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.Now()}
}

// registered is an app on a real token server.
func registered(t *testing.T, server *tokenservertest.Instance) oauth.ConnectedApp {
	t.Helper()
	administrator := &refresher.Credentials{
		ClientID: server.AdminClientID, ClientSecret: server.AdminClientSecret, TokenURL: server.URL + oauth.PathToken, AuthMethod: oauth.AuthMethodSecretPost,
	}
	token, err := tokenOf(t.Context(), administrator, nil)
	require.NoError(t, err)
	body, err := json.Marshal(map[string]any{
		"client_name": "gitproxy", "grant_types": []string{oauth.GrantClientCredentials},
		"redirect_uris": []string{}, "scopes": []string{"profile"}, "public_keys": []string{}, "audience": oauth.AudienceInternal,
	})
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+oauth.PathConnectedApps, bytes.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusCreated, response.StatusCode)
	var app oauth.ConnectedApp
	require.NoError(t, json.NewDecoder(response.Body).Decode(&app))
	return app
}

func requireAccepted(t *testing.T, server *tokenservertest.Instance, token string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+oauth.PathProfile, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
}
