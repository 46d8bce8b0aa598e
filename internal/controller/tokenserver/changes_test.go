// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

func TestAddressesThatChangeReachTheStatusAndTheSecrets(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	w.rewrite(func(document map[string]any) {
		document["jwks_uri"] = w.server.URL + "/moved/jwks"
		document["authorization_endpoint"] = w.server.URL + "/moved/authorize"
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(server), server))
		c.Equal(w.server.URL+"/moved/jwks", server.Status.Endpoints.JWKS)
		c.Equal(w.server.URL+"/moved/authorize", server.Status.Endpoints.Authorization)
		secret := &corev1.Secret{}
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKey{Namespace: w.name, Name: app.Name + "-credentials"}, secret))
		values := make([]string, 0, len(secret.Data))
		for _, value := range secret.Data {
			values = append(values, string(value))
		}
		c.Contains(values, w.server.URL+"/moved/jwks")
	})
}

// What a server begins to offer, or stops, apps hear of.
func TestAppsHearHowTheyMayAuthenticate(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	w.ready(w.tokenServer(), metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	w.rewrite(func(document map[string]any) {
		document["token_endpoint_auth_methods_supported"] = []string{"client_secret_basic"}
	})
	w.edit(app, func() {
		app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsPrivateKey}
		app.Spec.PublicKeys = []v1alpha1.PublicKey{{PEM: publicKey(t)}}
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
		c.Equal(v1alpha1.ReasonSecretlessNotPossible, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Reason)
	})
	w.rewrite(func(map[string]any) {})
	w.appReady(app)
}

func publicKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestCredentialsThatNoServerCouldAcceptAreExplained(t *testing.T) {
	w := newWorld(t)
	credentials := w.credentials(w.server.AdminClientSecret + "\n")
	w.create(credentials)
	server := w.tokenServer()
	for _, c := range []struct{ key, value, says string }{
		{"client-secret", w.server.AdminClientSecret + "\n", "ends with a line end, as echo and most editors write it; make it with printf '%s', or with kubectl create secret --from-literal"},
		{"client-id", w.server.AdminClientID + "\r\n", "ends with a line end"},
		{"client-secret", " " + w.server.AdminClientSecret, "begins or ends with white space"},
		{"client-id", "\ufeff" + w.server.AdminClientID, "holds characters that no credential has"},
	} {
		good := map[string][]byte{"client-id": []byte(w.server.AdminClientID), "client-secret": []byte(w.server.AdminClientSecret)}
		good[c.key] = []byte(c.value)
		w.edit(credentials, func() { credentials.Data = good })
		testenv.Eventually(t, func(a *require.Assertions) {
			refused := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCredentialsInvalid)
			a.Contains(refused.Message, "Secret "+w.name+" in namespace "+testenv.SystemNamespace+", key "+c.key+" "+c.says)
			a.NotContains(refused.Message, w.server.AdminClientSecret)
		})
		require.Equal(t, status.FailedStatus, testenv.KStatus(t, server))
	}
	w.edit(credentials, func() { credentials.Data["client-id"] = []byte(w.server.AdminClientID) })
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestTroubleThatAppsMeetShowsOnTheirServerAtOnce(t *testing.T) {
	w := newWorld(t, seldom)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	w.setFault(answer(500, "application/json", `{"status":500,"message":"no"}`))
	w.touch(app)
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerError)
	w.mend()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.appReady(app)
}

// A server may answer probes and no changes. Both are true, and both are told.
func TestAServerThatAnswersProbesOnlySaysSo(t *testing.T) {
	w := newWorld(t, seldom)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	w.setFault(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, app.Status.ClientID) {
			answer(500, "application/json", `{"status":500,"message":"read-only"}`)(rw, r)
			return
		}
		w.server.Server.Handler().ServeHTTP(rw, r)
	})
	w.touch(app)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(server), server))
		ready := testenv.Condition(server.Status.Conditions, v1alpha1.ConditionReady)
		c.Equal(metav1.ConditionTrue, ready.Status)
		c.Contains(ready.Message, "the server can be reached and managed, but calls for ConnectedApps fail (")
		c.Contains(ready.Message, "read-only")
	})
	w.mend()
	w.appReady(app)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Equal("the server can be reached and managed", w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady).Message)
	})
}

func TestAFinalizerThatIsTakenAwayComesBack(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.edit(server, func() { server.Finalizers = nil })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(server), server))
		c.Equal([]string{v1alpha1.Finalizer}, server.Finalizers)
	})
}
