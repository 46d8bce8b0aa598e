// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
)

// firstMatch is the part of text in the brackets of pattern.
func firstMatch(t *testing.T, pattern, text string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	require.NotNil(t, match, "%s in\n%s", pattern, text)
	return match[1]
}

func TestConfigInitWritesWhatServesAndSaysHow(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	stdout, stderr, code := s.command("", "config", "init", "--public-url=http://"+testenv.FreeAddress(t), "my server")
	require.Zero(t, code, stderr)
	for _, name := range []string{"tokenserver.yaml", "encryption-key", "client-secret", "user.hash"} {
		info, err := os.Stat(s.path("my server/" + name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		require.Contains(t, stdout, "my server/"+name)
	}
	checked, stderr, code := s.command("", "config", "check", "my server/tokenserver.yaml")
	require.Zero(t, code, stderr)
	require.Contains(t, checked, "ok: 1 organizations, 1 users, 0 apps")

	require.Contains(t, stdout, "\n  tokenserver serve --config='my server/tokenserver.yaml'\n")
	r := s.start("--config=my server/tokenserver.yaml", "--operations-listen=127.0.0.1:0").ready()
	require.Equal(t, http.StatusOK, r.status(strings.TrimPrefix(firstMatch(t, `(http://\S+/accounts/authorized-apps)`, stdout), "http://")))

	curl := exec.CommandContext(t.Context(), "bash", "-c", firstMatch(t, `(?m)^  (curl .*)$`, stdout))
	curl.Dir = s.dir
	answer, err := curl.Output()
	require.NoError(t, err)
	require.Contains(t, string(answer), `"access_token"`)

	password := firstMatch(t, `password: (\S+)`, stdout)
	login, err := json.Marshal(map[string]string{"username": "admin", "password": password})
	require.NoError(t, err)
	response, err := http.Post("http://"+r.public+"/accounts/login", "application/json", strings.NewReader(string(login)))
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NotContains(t, r.log.String(), password)
}

func TestConfigInitOverwritesNothing(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	s.write("client-secret", canary)
	_, stderr, code := s.command("", "config", "init")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: writing a configuration: client-secret: already there, and nothing is overwritten\nhint: name another folder")
	entries, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing was written")
}

func TestConfigInitTakesAPasswordAndAPublicURL(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	stdout, stderr, code := s.command("correct horse\n", "config", "init", "--ask-password", "--username=123", "--public-url=https://id.example.com")
	require.Zero(t, code, stderr)
	require.NotContains(t, stdout+stderr, "horse")
	require.NotContains(t, stdout, "password:")
	content, err := os.ReadFile(filepath.Join(s.dir, "tokenserver.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(content), "publicURL: https://id.example.com\nlisten: \"127.0.0.1:8080\"\n")

	_, stderr, code = s.command("", "config", "init", "--public-url=https://id.example.com:443", "other")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--public-url must be written https://id.example.com, ")
	require.NoDirExists(t, s.path("other"))
}
