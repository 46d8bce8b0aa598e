// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// caller makes one request again and again.
type caller struct {
	name  string
	right int
	do    attempt
}

// before is what the process before the restart leaves: clients, tokens that live
// and tokens that were revoked.
func before(t *testing.T, options ...tokenservertest.Option) (address string, callers []caller) {
	i := tokenservertest.Start(t, options...)
	app := register(t, i, machineApp)
	b := &building{personWorld: &personWorld{t: t, i: i, clock: &clock{}, app: app}, apps: map[string]oauth.ConnectedApp{"machine": app}}
	login := func() string {
		got := b.send(http.MethodPost, "/accounts/login", "", `{"username":"olga","password":"`+tokenservertest.Password+`"}`)()
		require.Equal(t, http.StatusOK, got.StatusCode, got.body)
		var body struct {
			Token string `json:"access_token"`
		}
		require.NoError(t, json.Unmarshal([]byte(got.body), &body))
		return body.Token
	}
	living, revoked, machine := login(), login(), b.machineToken("machine")
	require.Equal(t, http.StatusNoContent, b.send(http.MethodGet, "/accounts/api/logout", revoked, "")().StatusCode)
	i.HTTP.Close()
	require.NoError(t, i.Store.Close())
	return strings.TrimPrefix(i.URL, "http://"), []caller{
		{"a client asks for a token", 200, b.as("machine", oauth.PathToken, clientCredentials...)},
		{"a client introspects its token", 200, b.as("machine", oauth.PathIntrospect, "token", machine)},
		{"an administrator lists apps", 200, b.send(http.MethodGet, oauth.PathConnectedApps, living, "")},
		{"a revoked token creates an app", 401, b.send(http.MethodPost, oauth.PathConnectedApps, revoked, machineApp)},
		{"somebody opens the sign-in page", 200, b.send(http.MethodGet, "/accounts/sign-in", "", "")},
	}
}

func TestFromTheFirstMomentOnNobodyIsAnsweredWrongly(t *testing.T) {
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	options := []tokenservertest.Option{tokenservertest.WithFolder(t.TempDir()), tokenservertest.WithPasswordHash(hash)}
	address, all := before(t, options...)
	faults := tokenservertest.NewFaults()
	faults.Break(tokenservertest.Held, "AllApps", "Epochs")
	i := tokenservertest.Start(t, append(options, tokenservertest.WithAddress(address), tokenservertest.WithRun(),
		tokenservertest.WithStorage(faults.Wrap))...)

	for range 20 {
		for _, c := range all {
			got := c.do()
			require.Equal(t, http.StatusServiceUnavailable, got.StatusCode, "%s, and nothing is loaded: %s", c.name, got.body)
			require.NotEmpty(t, got.Header.Get("Retry-After"))
		}
		for _, path := range []string{oauth.PathDiscovery, oauth.PathMetadata, oauth.PathJWKS} {
			require.Equal(t, http.StatusOK, ask(t, i.URL, path).StatusCode, path)
		}
		require.Equal(t, http.StatusServiceUnavailable, operations(i, "/readyz").Code)
	}
	var running sync.WaitGroup
	for _, c := range all {
		running.Go(func() { c.untilRight(t, 50) })
	}
	faults.Mend()
	running.Wait()
	require.Equal(t, http.StatusOK, operations(i, "/readyz").Code)
	apps, total, err := i.Store.Apps(t.Context(), appsOf(i.OrgID))
	require.NoError(t, err)
	require.Equal(t, 1, total, "the revoked token has created nothing: %v", apps)
}

// untilRight repeats until the answer is right, and so often after that: it stays
// right. Before, it is 503.
func (c caller) untilRight(t *testing.T, more int) {
	for more > 0 {
		switch got := c.do(); got.StatusCode {
		case c.right:
			more--
		case http.StatusServiceUnavailable:
			assert.NotEmpty(t, got.Header.Get("Retry-After"))
		default:
			assert.Failf(t, "answered wrongly", "%s: %d %s", c.name, got.StatusCode, got.body)
			return
		}
	}
}

// operations asks a probe.
func operations(i *tokenservertest.Instance, path string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	i.Server.OperationsHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return answer
}

func TestAFirstLoadThatFailsIsTriedAgain(t *testing.T) {
	faults := tokenservertest.NewFaults()
	i := tokenservertest.Start(t, tokenservertest.WithoutLoad(), tokenservertest.WithStorage(faults.Wrap))
	for _, method := range []string{"LatestChanges", "AllApps", "Epochs", "EndedTokens", "SigningKeys", "Observe"} {
		faults.Break(tokenservertest.Refused, method)
		require.Error(t, i.Server.Load(t.Context()), method)
		faults.Mend()
		require.Equal(t, http.StatusServiceUnavailable, operations(i, "/readyz").Code, method)
		checkWords(t, "oauth", ask(t, i.URL, oauth.PathToken))
	}
	require.NoError(t, i.Server.Load(t.Context()))
	require.Equal(t, http.StatusOK, operations(i, "/readyz").Code)
}

func TestProbesAndMetricsNeverWaitForTheDatabase(t *testing.T) {
	b := newBuilding(t)
	everything := []string{"Ping", "InstallationID", "AllApps", "App", "Epochs", "SigningKeys", "Changes"}
	b.faults.Break(tokenservertest.Held, everything...)
	b.tick()
	waiting := make(chan answer)
	go func() { waiting <- b.send(http.MethodGet, oauth.PathProfile, b.admin, "")() }()
	for range 10 {
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			require.Equal(t, http.StatusOK, operations(b.i, path).Code, path)
		}
	}
	b.clock.advance(90 * time.Second)
	require.Contains(t, operations(b.i, "/readyz").Body.String(), "database: no answer for 1m32s")
	checkAnswer(t, http.StatusServiceUnavailable, <-waiting)
	require.Empty(t, b.faults.Unbounded(), "every call had a deadline")
	b.faults.Mend()
	b.settle()
	require.Equal(t, http.StatusOK, b.send(http.MethodGet, oauth.PathProfile, b.admin, "")().StatusCode)
	require.Contains(t, operations(b.i, "/readyz").Body.String(), "database: answering")
}

func appsOf(org string) storage.AppQuery { return storage.AppQuery{OrgID: org, Limit: 10} }

func TestBeforeTheFirstLoadEveryMethodIsToldToComeBack(t *testing.T) {
	i := tokenservertest.Start(t, tokenservertest.WithoutLoad())
	for _, method := range []string{http.MethodHead, http.MethodOptions, http.MethodDelete, http.MethodPut} {
		for _, path := range []string{oauth.PathToken, oauth.PathConnectedApps, oauth.PathUserInfo} {
			got := ask(t, i.URL, method+" "+path)
			require.Equal(t, http.StatusServiceUnavailable, got.StatusCode, method+path)
			require.Equal(t, "2", got.Header.Get("Retry-After"))
			require.Empty(t, got.Header.Get("Access-Control-Allow-Origin"))
			require.Equal(t, method == http.MethodHead, got.body == "")
		}
	}
	require.Equal(t, http.StatusServiceUnavailable, ask(t, i.URL, "HEAD /accounts/sign-in").StatusCode)
	require.Equal(t, http.StatusOK, ask(t, i.URL, "HEAD "+oauth.PathDiscovery).StatusCode)
}
