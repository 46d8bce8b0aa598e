// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// managerAudience is what the token server of these tests expects in the tokens of
// the manager's ServiceAccount.
const managerAudience = "https://id.example.com"

// federated gives the administrator's app the manager's ServiceAccount.
type federated struct{ storage.Storage }

func (f federated) CreateApp(ctx context.Context, app storage.App) (storage.App, error) {
	if app.ClientID == tokenservertest.AdminClientID {
		app.FederatedIdentities = []storage.FederatedIdentity{{
			IssuerName: "tests", Subject: "system:serviceaccount:" + testenv.SystemNamespace + ":connectedapps-manager",
		}}
	}
	return f.Storage.CreateApp(ctx, app)
}

// trusting is a token server that trusts the cluster of the tests.
func trusting(t *testing.T) []tokenservertest.Option {
	t.Helper()
	keys, err := workload.NewKeyFile(clusterFile(t, "/openid/v1/jwks"))
	require.NoError(t, err)
	document, err := os.ReadFile(clusterFile(t, "/.well-known/openid-configuration"))
	require.NoError(t, err)
	var cluster struct{ Issuer string }
	require.NoError(t, json.Unmarshal(document, &cluster))
	issuers, err := workload.New([]workload.Issuer{{Name: "tests", URL: cluster.Issuer, Audience: managerAudience, Source: keys}}, time.Now)
	require.NoError(t, err)
	return []tokenservertest.Option{
		tokenservertest.WithStorage(func(s storage.Storage) storage.Storage { return federated{s} }),
		tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Workloads = issuers }),
	}
}

// clusterFile is what the API server answers at a path.
func clusterFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := rest.HTTPClientFor(plane.Config)
	require.NoError(t, err)
	base, _, err := rest.DefaultServerUrlFor(plane.Config)
	require.NoError(t, err)
	response, err := raw.Get(base.JoinPath(path).String())
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusOK, response.StatusCode)
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "file.json")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	return file
}

func byServiceAccount(audience string) func(*v1alpha1.TokenServer) {
	return func(s *v1alpha1.TokenServer) {
		s.Spec.Credentials = v1alpha1.TokenServerCredentials{
			Type: v1alpha1.TokenServerCredentialsServiceAccount, ClientID: tokenservertest.AdminClientID, Audience: audience,
		}
	}
}

// No secret of the manager's exists anywhere: it logs in as its own ServiceAccount,
// and registers apps.
func TestTheManagerLogsInAsItsServiceAccount(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "connectedapps-manager"}}
	require.NoError(t, client.IgnoreAlreadyExists(plane.Client.Create(t.Context(), account)))
	w := newWorldOn(t, trusting(t), testenv.AsServiceAccount("connectedapps-manager"))
	server := w.tokenServer(byServiceAccount(managerAudience))
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.connectedApp()
	require.NotEmpty(t, server.Status.OrganizationID)
}

// What is wrong is told in words: whose token it is, and for whom.
func TestAManagerWhoseServiceAccountIsNotTrusted(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "stranger"}}
	require.NoError(t, client.IgnoreAlreadyExists(plane.Client.Create(t.Context(), account)))
	w := newWorldOn(t, trusting(t), testenv.AsServiceAccount("stranger"))
	server := w.tokenServer(byServiceAccount(managerAudience))
	refused := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCredentialsRefused)
	require.Contains(t, refused.Message, "system:serviceaccount:"+testenv.SystemNamespace+":stranger")
	require.NotContains(t, refused.Message, "eyJ")

	w.edit(server, func() { server.Spec.Credentials.Audience = "" })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(server), server))
		c.Contains(testenv.Condition(server.Status.Conditions, v1alpha1.ConditionReady).Message, "aud must be "+managerAudience)
	})
}

// A token for the API server would let whoever answers at spec.url act as the
// manager: it does not leave.
func TestATokenForTheAPIServerGoesNowhere(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "connectedapps-manager"}}
	require.NoError(t, client.IgnoreAlreadyExists(plane.Client.Create(t.Context(), account)))
	document, err := os.ReadFile(clusterFile(t, "/.well-known/openid-configuration"))
	require.NoError(t, err)
	var cluster struct{ Issuer string }
	require.NoError(t, json.Unmarshal(document, &cluster))
	var asked atomic.Int32
	w := newWorldOn(t, append(trusting(t), tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == oauth.PathToken {
				asked.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})), testenv.AsServiceAccount("connectedapps-manager"))
	server := w.tokenServer(byServiceAccount(cluster.Issuer))
	refused := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCredentialsMissing)
	require.Contains(t, refused.Message, cluster.Issuer+" is an audience of the API server itself")
	require.Contains(t, refused.Message, "spec.credentials.audience")
	require.Zero(t, asked.Load(), "nothing was sent")
	w.edit(server, func() { server.Spec.Credentials.Audience = managerAudience })
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A manager outside of a Pod has no ServiceAccount.
func TestAManagerWithoutAServiceAccount(t *testing.T) {
	w := newWorldOn(t, trusting(t))
	server := w.tokenServer(byServiceAccount(managerAudience))
	missing := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCredentialsMissing)
	require.Contains(t, missing.Message, "which is no ServiceAccount: run it in a Pod, or give the TokenServer credentials of type Secret")
}

// Each type has its own members.
func TestCredentialsHaveTheMembersOfTheirType(t *testing.T) {
	for name, c := range map[string]struct {
		credentials v1alpha1.TokenServerCredentials
		says        string
	}{
		"no client id": {v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsServiceAccount}, "spec.credentials.clientID: Invalid value"},
		"no Secret":    {v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsSecret}, "spec.credentials.secretRef: Invalid value"},
		"both": {v1alpha1.TokenServerCredentials{
			Type: v1alpha1.TokenServerCredentialsServiceAccount, ClientID: "a", SecretRef: &v1alpha1.SecretReference{Name: "b"},
		}, "spec.credentials.secretRef: Invalid value"},
	} {
		t.Run(name, func(t *testing.T) {
			err := plane.Client.Create(t.Context(), &v1alpha1.TokenServer{
				ObjectMeta: metav1.ObjectMeta{Name: "never"},
				Spec: v1alpha1.TokenServerSpec{URL: "https://id.example.com", Credentials: c.credentials, Access: []v1alpha1.AccessRule{
					{Name: "all", GrantTypes: []v1alpha1.GrantType{oauth.GrantClientCredentials}},
				}},
			})
			require.ErrorContains(t, err, c.says)
		})
	}
}
