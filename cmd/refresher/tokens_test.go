// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One process keeps several tokens, and one that cannot be had delays no other.
func TestSeveralTokensOfOneProcess(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer silent.Close()
	defer close(release)
	base, url := t.TempDir(), tokenEndpoint(t)
	good := credentialsDir(t, map[string]string{"client-id": "a", "client-secret": "b", "token-url": url})
	config := filepath.Join(base, "refresher.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
tokens:
- {name: waiting, credentialsDir: %[1]s, outputDir: %[2]s/waiting, tokenURL: %[3]s}
- {name: refused, credentialsDir: %[2]s/missing, outputDir: %[2]s/refused}
- {name: good, credentialsDir: %[1]s, outputDir: %[2]s/good}
- {name: private, credentialsDir: %[1]s, outputDir: %[2]s/private, mode: "0400"}
`, good, base, silent.URL), 0o600))
	p := start(t, "--config="+config, "--log-format=json", "--health-listen=127.0.0.1:0")
	health := p.healthURL(t)
	for _, name := range []string{"good", "private"} {
		require.Eventually(t, func() bool {
			content, err := os.ReadFile(filepath.Join(base, name, "access-token"))
			return err == nil && string(content) == "the-token"
		}, 30*time.Second, 10*time.Millisecond)
	}
	require.NoFileExists(t, filepath.Join(base, "waiting", "access-token"))
	info, err := os.Stat(filepath.Join(base, "private", "access-token"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o400), info.Mode().Perm())

	var status int
	var body string
	require.Eventually(t, func() bool {
		status, body = fetch(t, health+"/startupz")
		return strings.Contains(body, "token refused: no token yet: CredentialsInvalid\n") && !strings.Contains(body, "token good")
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "token waiting: no token yet\n")
	_, body = fetch(t, health+"/metrics")
	require.Contains(t, body, "connectedapps_refresher_refreshes_total{token=\"good\"} 1\n")
	require.Contains(t, body, "connectedapps_refresher_refreshes_total{token=\"refused\"} 0\n")
	require.Contains(t, body, "connectedapps_refresher_failures_total{reason=\"CredentialsInvalid\",token=\"refused\"} ")
	require.Contains(t, p.output.String(), `"token":"good"`)

	// Its credentials come, and are taken up.
	missing := filepath.Join(base, "missing")
	require.NoError(t, os.MkdirAll(missing, 0o755))
	for name, content := range map[string]string{"client-id": "a", "client-secret": "b", "token-url": url} {
		require.NoError(t, os.WriteFile(filepath.Join(missing, name), []byte(content), 0o600))
	}
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(base, "refused", "access-token"))
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
}

func TestOnceNamesTheTokenThatCannotBeHad(t *testing.T) {
	base := t.TempDir()
	good := credentialsDir(t, map[string]string{"client-id": "a", "client-secret": "b", "token-url": tokenEndpoint(t)})
	config := filepath.Join(base, "refresher.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
tokens:
- {name: good, credentialsDir: %[1]s, outputDir: %[2]s/good}
- {name: bad, credentialsDir: %[2]s/missing, outputDir: %[2]s/bad}
`, good, base), 0o600))
	p := start(t, "--config="+config, "--once", "--once-timeout=1s")
	require.Equal(t, exitFailed, p.exitCode())
	require.Contains(t, p.output.String(), "no token bad within 1s: reading the credentials: open "+base+"/missing: no such file or directory")
	require.FileExists(t, filepath.Join(base, "good", "access-token"))
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}
