// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// An app whose client secret somebody else keeps: the Secret and its companion
// are one projected volume, as config/components/refresher/existing-secret makes
// it, and a new value is taken up without a restart.
func TestAnExistingSecretAndItsCompanionInOneVolume(t *testing.T) {
	server := tokenservertest.Start(t)
	app := registerApp(t, server)
	out, volume := t.TempDir(), t.TempDir()
	mount := func(secret string) {
		require.NoError(t, atomicfile.Dir{Path: volume}.Write(map[string][]byte{
			"client-id": []byte(app.ClientID), "token-url": []byte(server.URL + oauth.PathToken), // the companion's
			"issuer-url": []byte(server.URL + oauth.IssuerPath), "auth-method": []byte(oauth.AuthMethodSecretPost),
			"client-secret": []byte(secret + "\n"), // the ExistingSecret's, as an editor leaves it
		}))
	}
	chosen := func(secret string) string {
		var changed oauth.ConnectedApp
		manage(t, server, http.MethodPatch, oauth.PathConnectedApps+"/"+app.ClientID, http.StatusOK, map[string]any{"client_secret": secret}, &changed)
		return secret
	}
	first := chosen("a-secret-that-somebody-chose")
	mount(first)
	p := start(t, "--log-format=json", "--health-listen=127.0.0.1:0", "--credentials-dir="+volume, "--output-dir="+out)
	eventuallyProbe(t, p.healthURL(t)+"/startupz", http.StatusOK)
	reader := spin(out)
	reader.waitForTokens(t, 1)
	requireAccepted(t, server.URL, reader.latest())

	second := chosen("another-secret-that-somebody-chose")
	mount(second)
	reader.waitForTokens(t, 2)
	requireAccepted(t, server.URL, reader.latest())
	require.NoError(t, reader.stop(), "the reader saw a gap")
	require.NotContains(t, p.output.String(), first)
	require.NotContains(t, p.output.String(), second)
}

// The companion alone, mounted by mistake, says what is missing and where it is.
func TestACompanionAloneSaysWhatIsMissing(t *testing.T) {
	p := start(t, "--once", "--once-timeout=1s", "--output-dir="+t.TempDir(),
		"--credentials-dir="+credentialsDir(t, map[string]string{"client-id": "a", "token-url": "https://id.example.com/token"}))
	require.Equal(t, exitFailed, p.exitCode())
	require.Contains(t, p.output.String(), "client-secret is missing: when it is in an ExistingSecret, mount that beside its companion")
}

// registerApp registers an app of the client credentials grant.
func registerApp(t *testing.T, server *tokenservertest.Instance) oauth.ConnectedApp {
	t.Helper()
	var app oauth.ConnectedApp
	manage(t, server, http.MethodPost, oauth.PathConnectedApps, http.StatusCreated, map[string]any{
		"client_name": "gitproxy", "grant_types": []string{oauth.GrantClientCredentials},
		"redirect_uris": []string{}, "scopes": []string{"profile"}, "public_keys": []string{}, "audience": oauth.AudienceInternal,
	}, &app)
	return app
}

// rotateSecret makes a new secret and ends the one before at once.
func rotateSecret(t *testing.T, server *tokenservertest.Instance, clientID string) string {
	t.Helper()
	var app oauth.ConnectedApp
	manage(t, server, http.MethodPatch, oauth.PathConnectedApps+"/"+clientID+"?resetSecret=true", http.StatusOK, map[string]any{}, &app)
	return app.ClientSecret
}

func manage(t *testing.T, server *tokenservertest.Instance, method, path string, want int, body, answer any) {
	t.Helper()
	files := map[string]string{
		"client-id": server.AdminClientID, "client-secret": server.AdminClientSecret, "token-url": server.URL + oauth.PathToken,
	}
	if certificate := server.HTTP.Certificate(); certificate != nil {
		files["ca.crt"] = pemText("CERTIFICATE", certificate.Raw)
	}
	administrator := &refresher.EndpointSource{Credentials: (&refresher.Directory{Path: credentialsDir(t, files)}).Credentials}
	token, err := administrator.Token(t.Context())
	require.NoError(t, err)
	content, err := json.Marshal(body)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, bytes.NewReader(content))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	response, err := server.HTTP.Client().Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, want, response.StatusCode, string(text))
	require.NoError(t, json.Unmarshal(text, answer))
}

// mountCredentials writes the credentials Secret as the kubelet does.
func mountCredentials(t *testing.T, dir, url, id, secret string) {
	t.Helper()
	require.NoError(t, atomicfile.Dir{Path: dir}.Write(map[string][]byte{
		"client-id": []byte(id), "client-secret": []byte(secret),
		"token-url": []byte("https://unreachable.invalid/token"), "internal-token-url": []byte(url + oauth.PathToken),
		"auth-method": []byte(oauth.AuthMethodSecretBasic),
	}))
}

func requireAccepted(t *testing.T, url, token string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+oauth.PathProfile, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
}

func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			n, err := strconv.Atoi(fields[1])
			require.NoError(t, err)
			t.Logf("resident: %d KiB", n)
			return n
		}
	}
	t.Fatal("no VmRSS in /proc")
	return 0
}
