// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2/clientcredentials"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// audience is that of the server in these tests.
const audience = "https://id.example.com/accounts/api/v2/oauth2"

const gitproxy = "system:serviceaccount:payments:gitproxy"

// clock is a time that a test moves.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// cluster signs tokens as the API server of one does.
type cluster struct {
	t      testing.TB
	issuer string
	kid    string
	key    *rsa.PrivateKey
	now    func() time.Time
}

// signingKey is made once: that takes long.
var signingKey = sync.OnceValue(newSigningKey)

func newSigningKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newCluster(t testing.TB, issuer string, now func() time.Time) *cluster {
	return &cluster{t: t, issuer: issuer, kid: "first", key: signingKey(), now: now}
}

// jwks is its JWK Set.
func (c *cluster) jwks() []byte {
	return keySet(c.t, map[string]crypto.PublicKey{c.kid: c.key.Public()})
}

func keySet(t testing.TB, keys map[string]crypto.PublicKey) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for id, key := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, KeyID: id, Algorithm: "RS256", Use: "sig"})
	}
	text, err := json.Marshal(set)
	require.NoError(t, err)
	return text
}

// file holds the JWK Set.
func (c *cluster) file() string {
	path := filepath.Join(c.t.TempDir(), "keys.json")
	require.NoError(c.t, os.WriteFile(path, c.jwks(), 0o600))
	return path
}

// claims are those of gitproxy's token for the server, as the API server makes them.
func (c *cluster) claims() jwt.MapClaims {
	now := c.now()
	return jwt.MapClaims{
		"iss": c.issuer, "sub": gitproxy, "aud": []string{audience}, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"jti": uuid.NewString(), "kubernetes.io": map[string]any{
			"namespace": "payments", "serviceaccount": map[string]any{"name": "gitproxy", "uid": uuid.NewString()},
			"pod": map[string]any{"name": "gitproxy-0", "uid": uuid.NewString()}, "node": map[string]any{"name": "n", "uid": uuid.NewString()},
		},
	}
}

// token is one with other claims or header; nil takes away.
func (c *cluster) token(change jwt.MapClaims, header ...map[string]any) string {
	c.t.Helper()
	claims := c.claims()
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	// An API server writes no typ.
	token.Header = map[string]any{"alg": "RS256", "kid": c.kid}
	for _, more := range header {
		maps.Copy(token.Header, more)
	}
	raw, err := token.SignedString(c.key)
	require.NoError(c.t, err)
	return raw
}

// world is a token server that trusts issuers.
type world struct {
	t     testing.TB
	i     *tokenservertest.Instance
	clock *clock
	log   *lines
	// trusted are the issuers.
	trusted *workload.Issuers
}

func newWorld(t testing.TB, clock *clock, issuers []workload.Issuer, options ...tokenservertest.Option) *world {
	t.Helper()
	w := &world{t: t, clock: clock, log: &lines{}}
	trusted, err := workload.New(issuers, clock.Now)
	require.NoError(t, err)
	w.trusted = trusted
	w.i = tokenservertest.Start(t, append(options, tokenservertest.WithConfig(func(c *tokenserver.Config) {
		c.Workloads, c.Now, c.Logger = trusted, clock.Now, slog.New(slog.NewJSONHandler(w.log, nil))
	}))...)
	return w
}

// app registers one that the workloads authenticate as.
func (w *world) app(members string, identities ...oauth.FederatedIdentity) oauth.ConnectedApp {
	w.t.Helper()
	list, err := json.Marshal(identities)
	require.NoError(w.t, err)
	status, text := w.manage(http.MethodPost, "", `{"client_name":"a","grant_types":["client_credentials"]`+members+`,"federated_identities":`+string(list)+`}`)
	require.Equal(w.t, http.StatusCreated, status, text)
	var app oauth.ConnectedApp
	require.NoError(w.t, json.Unmarshal([]byte(text), &app))
	return app
}

func (w *world) manage(method, path, body string) (int, string) {
	w.t.Helper()
	config := clientcredentials.Config{ClientID: w.i.AdminClientID, ClientSecret: w.i.AdminClientSecret, TokenURL: w.i.URL + oauth.PathToken}
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.i.URL+oauth.PathConnectedApps+path, strings.NewReader(body))
	require.NoError(w.t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := config.Client(w.t.Context()).Do(request)
	require.NoError(w.t, err)
	return read(w.t, response)
}

func read(t testing.TB, response *http.Response) (int, string) {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// answer is one of any endpoint.
type answer struct {
	oauth.TokenResponse
	oauth.ErrorResponse
	Active     bool `json:"active"`
	status     int
	retryAfter string
}

// post sends a form with pairs of names and values; an empty value is left out.
func (w *world) post(path string, pairs ...string) answer {
	w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			form.Set(pairs[i], pairs[i+1])
		}
	}
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.i.URL+path, strings.NewReader(form.Encode()))
	require.NoError(w.t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	require.NoError(w.t, err)
	status, text := read(w.t, response)
	a := answer{status: status, retryAfter: response.Header.Get("Retry-After")}
	if text != "" {
		require.NoError(w.t, json.Unmarshal([]byte(text), &a), text)
	}
	return a
}

// login asks for an access token with the token of a workload.
func (w *world) login(clientID, token string, more ...string) answer {
	w.t.Helper()
	return w.post(oauth.PathToken, append([]string{
		"grant_type", oauth.GrantClientCredentials, "client_id", clientID, "client_assertion_type", oauth.AssertionTypeJWTBearer, "client_assertion", token,
	}, more...)...)
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// cause is what the log says of the last request.
func (l *lines) cause(t testing.TB) string {
	t.Helper()
	cause := ""
	for line := range strings.Lines(l.String()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if entry["msg"] == "request" {
			cause, _ = entry["cause"].(string)
		}
	}
	return cause
}
