// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// clusterOf is an API server as far as a token server sees of it, the folder with
// the token of its Pod, and the configuration of the bundled installation.
func clusterOf(t *testing.T, s *site) *issuing {
	t.Helper()
	c := newIssuing(t)
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+c.token(t, "tokenserver", "https://c.example"):
			w.WriteHeader(http.StatusUnauthorized) // anonymous discovery is off
		case r.URL.Path == "/.well-known/openid-configuration":
			_, _ = w.Write([]byte(`{"issuer":"https://c.example","jwks_uri":"https://10.0.0.1:6443/openid/v1/jwks"}`))
		case r.URL.Path == "/openid/v1/jwks":
			_, _ = w.Write([]byte(c.set))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(api.Close)
	s.write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})))
	s.write("token", c.token(t, "tokenserver", "https://c.example"))
	s.edit("clientSecretFile: client-secret}", "clientSecretFile: client-secret, federatedIdentities: [{issuerName: cluster, serviceAccount: manager}]}")
	s.edit("organizations:", "workloadIssuers:\n- {name: cluster, discovery: {url: "+api.URL+", caFile: ca.crt, tokenFile: token}}\norganizations:")
	return c
}

// token is one of a ServiceAccount in the namespace of the server. It is the same
// whenever it is asked for: what signs without chance is not at hand, so it is kept.
func (c *issuing) token(t *testing.T, name, audience string) string {
	t.Helper()
	key := name + " " + audience
	if c.made[key] == "" {
		now := time.Now()
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": "https://c.example", "sub": "system:serviceaccount:identity:" + name, "aud": audience, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		})
		token.Header["kid"] = "a"
		raw, err := token.SignedString(c.key)
		require.NoError(t, err)
		c.made[key] = raw
	}
	return c.made[key]
}

// managerLogin is a login of the administrator's client as a ServiceAccount.
func (r *server) managerLogin(c *issuing, name string) int {
	r.t.Helper()
	response, err := http.PostForm("http://"+r.public+oauth.PathToken, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {adminID}, "client_assertion_type": {oauth.AssertionTypeJWTBearer},
		"client_assertion": {c.token(r.t, name, "http://localhost:8080/accounts/api/v2/oauth2")},
	})
	require.NoError(r.t, err)
	_ = response.Body.Close()
	return response.StatusCode
}

// TestTheManagerNeedsNoSecret, and one of an earlier installation is taken until it
// is deleted.
func TestTheManagerNeedsNoSecret(t *testing.T) {
	s := newSite(t)
	c := clusterOf(t, s)
	r := s.start().ready()
	loggedIn := func(secret string) int { status, _ := r.token(secret); return status }
	require.Equal(t, http.StatusOK, r.managerLogin(c, "manager"), r.log.String())
	require.Equal(t, http.StatusUnauthorized, r.managerLogin(c, "default"))
	require.Equal(t, http.StatusOK, loggedIn(canary), "an installation that was upgraded goes on")

	require.NoError(t, os.Remove(s.path("client-secret")))
	r.eventually("the secret ends", func() bool { return loggedIn(canary) == http.StatusUnauthorized })
	require.Contains(t, r.log.String(), "has a secret beside its federated identities")
	require.Contains(t, r.log.String(), "has no secret any more")
	require.Equal(t, http.StatusOK, r.managerLogin(c, "manager"))
	require.NotContains(t, r.metric("tokenserver_config_reload_failed"), "} 1")

	// As a kubelet that mounts nothing, since there is no Secret.
	r.terminate()
	require.Zero(t, r.exit())
	r = s.start("--wait=1h").ready()
	require.Equal(t, http.StatusOK, r.managerLogin(c, "manager"))
	require.Equal(t, http.StatusUnauthorized, loggedIn(canary))

	s.write("client-secret", strings.Repeat("n", 40))
	r.eventually("a secret that somebody brings", func() bool { return loggedIn(strings.Repeat("n", 40)) == http.StatusOK })
	require.Equal(t, http.StatusUnauthorized, loggedIn(canary))
	require.Equal(t, http.StatusOK, r.managerLogin(c, "manager"))
}

func TestAServerOutsideOfItsClusterSaysWhatItMisses(t *testing.T) {
	s := newSite(t)
	clusterOf(t, s)
	require.NoError(t, os.Remove(s.path("token")))
	_, stderr, code := s.command("", "serve")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "workloadIssuers[0]: issuer is left out, and the token in tokenFile does not tell it: open token: no such file")
}
