// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// events is a log whose entries a test reads.
type events struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (e *events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(p)
}

// last is the last entry with this message.
func (e *events) last(t *testing.T, message string) map[string]any {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	var found map[string]any
	for line := range strings.Lines(e.text.String()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if entry["msg"] == message {
			found = entry
		}
	}
	return found
}

// do sends a request, follows nothing and returns the answer with its body.
func do(t *testing.T, method, target string, header http.Header) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	require.NoError(t, err)
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

// TestAWrongMethodSaysWhichAreRight asks every kind of path.
func TestAWrongMethodSaysWhichAreRight(t *testing.T) {
	i := tokenservertest.Start(t)
	one := oauth.PathOrganizations + "/" + i.OrgID + "/connectedApplications/x"
	for path, allow := range map[string]string{
		"/": "GET", oauth.PathToken: "POST", oauth.PathIntrospect: "POST", oauth.PathRevoke: "POST", oauth.PathDiscovery: "GET",
		oauth.PathMetadata: "GET", oauth.PathJWKS: "GET", oauth.PathUserInfo: "GET, POST", oauth.PathProfile: "GET", oauth.PathMe + "/": "GET",
		oauth.PathConnectedApps: "GET, POST", one: "DELETE, GET, PATCH", one + "/scopes": "DELETE, GET, PATCH, PUT",
		one + "/secrets/x": "DELETE", oauth.PathScopeCatalog: "GET", oauth.PathOrganizations + "/" + i.OrgID + "/hierarchy": "GET",
		oauth.PathAuthorize: "GET, POST", "/accounts/authorize-app": "POST", "/accounts/sign-in": "GET, POST", "/accounts/sign-out": "GET, POST",
		"/accounts/authorized-apps": "GET", "/accounts/authorized-apps/revoke": "POST", "/accounts/login": "GET, POST",
		"/accounts/api/v1/oauth/token": "POST", "/accounts/api/logout": "GET", oauth.PathEndSession: "GET, POST",
	} {
		for _, method := range []string{http.MethodTrace, "BREW", http.MethodOptions} {
			response, body := do(t, method, i.URL+path, nil)
			assert.Equal(t, allow, response.Header.Get("Allow"), "%s %s", method, path)
			if method == http.MethodOptions {
				assert.Equal(t, http.StatusNoContent, response.StatusCode, path)
				assert.Empty(t, body)
				continue
			}
			assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode, "%s %s", method, path)
			assert.Equal(t, "application/json", response.Header.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/", oauth.PathDiscovery, oauth.PathJWKS, "/accounts/sign-in"} {
		response, body := do(t, http.MethodHead, i.URL+path, nil)
		assert.Equal(t, http.StatusOK, response.StatusCode, path)
		assert.Empty(t, body)
	}
	response, _ := do(t, http.MethodOptions, i.URL+"/nowhere", nil)
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
}

func TestWhatIsElsewhereIsAPageForPeopleAndJSONForPrograms(t *testing.T) {
	i := tokenservertest.Start(t)
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for accept, page := range map[string]bool{
		browser: true, "text/html": true, "application/json;q=0.5, text/html;q=0.9": true, "": false, "*/*": false, "application/json": false,
		"application/json, text/html;q=0.9": false, "text/html;q=0": false,
	} {
		header := http.Header{"Accept": {accept}}
		for _, path := range []string{"/nowhere", "/accounts/sign-in/x", "/favicon.ico"} {
			response, body := do(t, http.MethodGet, i.URL+path, header)
			require.Equal(t, http.StatusNotFound, response.StatusCode, accept)
			require.Equal(t, "Accept", response.Header.Get("Vary"))
			require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
			if page {
				require.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"), accept)
				require.Contains(t, body, "There is no such page")
				require.Contains(t, body, `href="/accounts/authorized-apps"`)
				continue
			}
			require.JSONEq(t, `{"status":404,"message":"there is no such endpoint"}`, body, accept)
		}
		response, body := do(t, http.MethodGet, i.URL+"/", header)
		if page {
			require.Equal(t, http.StatusSeeOther, response.StatusCode, accept)
			require.Equal(t, "/accounts/authorized-apps", response.Header.Get("Location"))
			continue
		}
		require.Equal(t, http.StatusOK, response.StatusCode, accept)
		require.JSONEq(t, fmt.Sprintf(`{"issuer":%q,"discovery":%q,"metadata":%q}`,
			i.URL+oauth.IssuerPath, i.URL+oauth.PathDiscovery, i.URL+oauth.PathMetadata), body)
	}
}

// TestBothLogsHaveTheCallersAddress comes through a trusted proxy and not.
func TestBothLogsHaveTheCallersAddress(t *testing.T) {
	for name, row := range map[string]struct {
		source func(*http.Request) netip.Addr
		want   string
	}{
		"behind a trusted proxy": {httpx.Proxies{netip.MustParsePrefix("127.0.0.0/8")}.Of, "192.0.2.7"},
		"without one":            {nil, "127.0.0.1"},
		"behind another proxy":   {httpx.Proxies{netip.MustParsePrefix("10.0.0.0/8")}.Of, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &events{}
			i := tokenservertest.Start(t, tokenservertest.WithConfig(func(c *tokenserver.Config) {
				c.Logger, c.Source = slog.New(slog.NewJSONHandler(log, nil)), row.source
			}))
			header := http.Header{"X-Forwarded-For": {"203.0.113.9, 192.0.2.7"}}
			body := url.Values{"grant_type": {"client_credentials"}, "client_id": {i.AdminClientID}, "client_secret": {i.AdminClientSecret}}
			_, text := post(t, i.URL+oauth.PathToken, "application/x-www-form-urlencoded", body.Encode(), header)
			var issued oauth.TokenResponse
			require.NoError(t, json.Unmarshal([]byte(text), &issued))
			require.Equal(t, row.want, log.last(t, "audit")["source_ip"])
			require.Equal(t, row.want, log.last(t, "request")["remote"])

			header.Set("Authorization", "Bearer "+issued.AccessToken)
			_, text = post(t, i.URL+oauth.PathConnectedApps, "application/json", machineApp, header)
			require.Equal(t, "app_created", log.last(t, "audit")["action"], text)
			require.Equal(t, row.want, log.last(t, "audit")["source_ip"])
		})
	}
}

// TestTheLogSaysWhyATokenWasRefused, and the answer does not.
func TestTheLogSaysWhyATokenWasRefused(t *testing.T) {
	log := &events{}
	i := tokenservertest.Start(t, tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Logger = slog.New(slog.NewJSONHandler(log, nil)) }))
	app := register(t, i, machineApp)
	_, text := post(t, i.URL+oauth.PathToken, "application/json",
		`{"grant_type":"client_credentials","client_id":"`+app.ClientID+`","client_secret":"`+app.ClientSecret+`"}`, nil)
	var issued oauth.TokenResponse
	require.NoError(t, json.Unmarshal([]byte(text), &issued))
	parts := strings.Split(issued.AccessToken, ".")
	tampered := parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))
	for _, path := range []string{oauth.PathConnectedApps, oauth.PathProfile, oauth.PathMe, oauth.PathUserInfo, oauth.PathOrganizations + "/" + i.OrgID} {
		response, _ := do(t, http.MethodGet, i.URL+path, http.Header{"Authorization": {"Bearer " + tampered}})
		require.Equal(t, http.StatusUnauthorized, response.StatusCode, path)
		entry := log.last(t, "request")
		require.Equal(t, oauth.CodeInvalidToken, entry["error"], path)
		require.Contains(t, entry["cause"], "signature", path)
		require.NotContains(t, fmt.Sprint(entry), parts[1], "no part of the token")
	}
	_, _ = do(t, http.MethodGet, i.URL+oauth.PathConnectedApps, http.Header{"Authorization": {"Bearer " + issued.AccessToken}})
	require.Equal(t, oauth.CodeInsufficientScope, log.last(t, "request")["error"])
	_, _ = do(t, http.MethodGet, i.URL+oauth.PathProfile, nil)
	require.Contains(t, log.last(t, "request")["error_description"], "an access token is required")
	require.NotContains(t, log.text.String(), issued.AccessToken)
	require.NotContains(t, log.text.String(), app.ClientSecret)
	_, _ = post(t, i.URL+"/accounts/login", "application/json", `{"username":"ulf","password":"of-nobody"}`, nil)
	require.Equal(t, "wrong username or password", log.last(t, "request")["error_description"])
	require.NotContains(t, log.text.String(), "of-nobody")
	_, _ = do(t, http.MethodOptions, i.URL+oauth.PathToken, nil)
	require.NotContains(t, log.last(t, "request"), "error", "OPTIONS is no failure")
}

// TestABodyInChunksEndsTheConnection speaks to the socket: with a
// Content-Length beside Transfer-Encoding the second request would be a
// smuggled one.
func TestABodyInChunksEndsTheConnection(t *testing.T) {
	i := tokenservertest.Start(t)
	const second = "GET " + oauth.PathJWKS + " HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, row := range map[string]struct {
		version, header string
		closed          bool
	}{
		"both":                          {"1.1", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na=b&c\r\n0\r\n\r\n", true},
		"the length after the encoding": {"1.1", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", true},
		"a length alone":                {"1.1", "Content-Length: 5\r\n\r\na=b&c", false},
		"both in the version before, which knew no encoding": {
			"1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\na=b&c", true},
		"an encoding alone in the version before": {"1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			connection, err := net.Dial("tcp", strings.TrimPrefix(i.URL, "http://"))
			require.NoError(t, err)
			defer func() { _ = connection.Close() }()
			first := "POST " + oauth.PathToken + " HTTP/" + row.version + "\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
			_, err = io.WriteString(connection, first+row.header+second)
			require.NoError(t, err)
			reader := bufio.NewReader(connection)
			answer, err := http.ReadResponse(reader, nil)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, answer.Body)
			require.Equal(t, http.StatusBadRequest, answer.StatusCode)
			require.Equal(t, row.closed, answer.Close)
			next, err := http.ReadResponse(reader, nil)
			if row.closed {
				require.Error(t, err, "nothing follows")
				return
			}
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, next.StatusCode)
			_ = next.Body.Close()
		})
	}
}
