// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

const secretless = `workloadIssuers:
- {name: prod, issuer: "https://kubernetes.default.svc.cluster.local", jwksFile: prod.json}
apps:
- clientID: gitproxy
  clientName: Gitproxy
  grantTypes: [client_credentials]
  federatedIdentities:
  - {issuerName: prod, subject: "system:serviceaccount:payments:gitproxy"}
`

// issuing is a cluster: it writes its keys into the site, and signs tokens.
type issuing struct {
	key *ecdsa.PrivateKey
	set string
	// made are the tokens of token.
	made map[string]string
}

func newIssuing(t *testing.T) *issuing {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "a", Algorithm: "ES256"}}})
	require.NoError(t, err)
	return &issuing{key: key, set: string(set), made: map[string]string{}}
}

func (r *server) workloadLogin(c *issuing) int {
	r.t.Helper()
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://kubernetes.default.svc.cluster.local", "sub": "system:serviceaccount:payments:gitproxy",
		"aud": "http://localhost:8080/accounts/api/v2/oauth2", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	token.Header["kid"] = "a"
	raw, err := token.SignedString(c.key)
	require.NoError(r.t, err)
	response, err := http.PostForm("http://"+r.public+oauth.PathToken, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"gitproxy"},
		"client_assertion_type": {oauth.AssertionTypeJWTBearer}, "client_assertion": {raw},
	})
	require.NoError(r.t, err)
	_ = response.Body.Close()
	return response.StatusCode
}

// TestAnAppOfTheFileNeedsNoSecret, and the keys of its cluster are taken over while
// the server runs.
func TestAnAppOfTheFileNeedsNoSecret(t *testing.T) {
	s, before, after := newSite(t), newIssuing(t), newIssuing(t)
	s.write("prod.json", before.set)
	s.edit("organizations:", secretless+"organizations:")
	r := s.start().ready()
	require.Equal(t, http.StatusOK, r.workloadLogin(before), r.log.String())
	require.Equal(t, http.StatusUnauthorized, r.workloadLogin(after))

	r.write("prod.json", "{")
	failed := `tokenserver_config_reload_failed{files="workload_issuers"} 1`
	r.eventually("the metric tells", func() bool { return strings.Contains(r.metric("tokenserver_config_reload_failed"), failed) })
	require.Contains(t, r.log.String(), "workload issuer prod: prod.json: it is not a JWK Set")
	require.Equal(t, http.StatusOK, r.workloadLogin(before), "the earlier keys stay in use")

	r.write("prod.json", after.set)
	r.eventually("the new key", func() bool { return r.workloadLogin(after) == http.StatusOK })
	require.Equal(t, http.StatusUnauthorized, r.workloadLogin(before))

	r.edit("- {name: prod,", "- {name: other, issuer: \"https://other.example\"}\n- {name: prod,")
	r.eventually("a restart is asked for", func() bool { return strings.Contains(r.log.String(), "settings=workloadIssuers") })
}

func TestTwoIssuersThatCannotBeToldApartAreAStartError(t *testing.T) {
	s := newSite(t)
	s.write("prod.json", newIssuing(t).set)
	s.edit("organizations:", strings.Replace(secretless, "apps:", "- {name: staging, issuer: \"https://kubernetes.default.svc.cluster.local\"}\napps:", 1)+"organizations:")
	for _, command := range []string{"serve", "config check"} {
		_, stderr, code := s.command("", strings.Fields(command)...)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "workloadIssuers[1].audience: workloadIssuers[0] has the same issuer and the same audience")
	}
}
