// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfigCheck(t *testing.T) {
	s := newSite(t)
	stdout, _, code := s.command("", "config", "check")
	require.Zero(t, code)
	require.Contains(t, stdout, "tokenserver.yaml: warning: publicURL is plain http")
	require.Contains(t, stdout, "tokenserver.yaml: ok: 1 organizations, 1 users, 0 apps\n")
	unnamed, _, code := s.command("", "config", "check")
	require.Zero(t, code)
	require.Equal(t, stdout, unnamed, "the file that serve reads without --config")

	s.edit("encryptionKeyFiles: [encryption-key]", "encryptionKeyFiles: [other-key]")
	_, stderr, code := s.command("", "config", "check", "tokenserver.yaml")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: checking tokenserver.yaml: line 5: encryptionKeyFiles[0]: reading encryption key: stat other-key")
	_, _, code = s.command("", "config", "check", "--skip-files", "tokenserver.yaml")
	require.Zero(t, code)
}

func TestTheDeployedAndTheDocumentedConfigurationAreValid(t *testing.T) {
	s := newSite(t)
	deployed, err := filepath.Abs("../../config/tokenserver/config.yaml")
	require.NoError(t, err)
	page, err := os.ReadFile("../../docs/tokenserver-configuration.md")
	require.NoError(t, err)
	_, apps, found := strings.Cut(string(page), "```yaml\n")
	require.True(t, found)
	apps, _, found = strings.Cut(apps, "```\n")
	require.True(t, found)
	_, example, found := strings.Cut(string(page), "\n## Example\n\n```yaml\n")
	require.True(t, found)
	example, _, found = strings.Cut(example, "```\n")
	require.True(t, found)
	s.write("example.yaml", example)
	s.write("laptop.yaml", example+apps)
	for _, path := range []string{deployed, "example.yaml", "laptop.yaml"} {
		stdout, stderr, code := s.command("", "config", "check", "--skip-files", path)
		require.Zero(t, code, stderr)
		require.NotContains(t, stdout, "warning")
	}
}

func TestUserHashReadsStandardInputAndNeverAnArgument(t *testing.T) {
	s := newSite(t)
	stdout, stderr, code := s.command("correct horse\n", "user", "hash")
	require.Zero(t, code, stderr)
	require.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[^$]+\$[^$]+\n$`, stdout)
	require.NotContains(t, stdout+stderr, "horse")

	_, stderr, code = s.command("", "user", "hash", "hunter2")
	require.Equal(t, 2, code)
	require.NotContains(t, stderr, "hunter2")
	_, stderr, code = s.command("\n", "user", "hash")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: hashing password: it must have 1 to 1024 bytes")
}

func (r *server) keyIDs() []string {
	r.t.Helper()
	response, err := http.Get("http://" + r.public + "/accounts/api/v2/oauth2/jwks")
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	var set struct{ Keys []struct{ Kid string } }
	require.NoError(r.t, json.NewDecoder(response.Body).Decode(&set))
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids
}

func TestKeysAreRotatedAndRewrappedWhileTheServerIsDown(t *testing.T) {
	s := newSite(t)
	_, stderr, code := s.command("", "keys", "rotate")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "tokenserver: opening the database: stat tokenserver.db: no such file or directory\nhint: tokenserver serve makes the database")
	require.NoFileExists(t, s.path("tokenserver.db"))

	r := s.start().ready()
	before := r.keyIDs()
	for _, command := range []string{"rotate", "rewrap"} {
		_, stderr, code = s.command("", "keys", command)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "the database is in use by another process (pid ")
		require.Contains(t, stderr, ")\nhint: stop the server first")
	}
	r.terminate()
	require.Zero(t, r.exit())

	stdout, stderr, code := s.command("", "keys", "rotate", "--revoke")
	require.Zero(t, code, stderr)
	s.write("second-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)))
	s.edit("[encryption-key]", "[second-key, encryption-key]")
	rewrapped, stderr, code := s.command("", "keys", "rewrap")
	require.Zero(t, code, stderr)
	require.Equal(t, "6 keys are encrypted with the first encryption key\n", rewrapped)
	s.edit("[second-key, encryption-key]", "[second-key]")

	r = s.start().ready()
	after := r.keyIDs()
	require.Len(t, after, 2)
	for _, id := range after {
		require.NotContains(t, before, id)
		require.Contains(t, stdout, id)
	}
	status, _ := r.token(canary)
	require.Equal(t, http.StatusOK, status, "secrets stay valid")
}

func TestWrongUsageExitsWithTwo(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command":          {[]string{"run"}, `unknown command "run"`},
		"an unknown command of keys":  {[]string{"keys", "delete"}, `unknown command "delete"`},
		"an unknown flag":             {[]string{"serve", "--secret=x"}, "unknown flag: --secret"},
		"an unknown log format":       {[]string{"serve", "--log-format=xml"}, `--log-format must be text or json, not "xml"`},
		"an unknown log level":        {[]string{"serve", "--log-level=loud"}, "--log-level must be debug, info, warn or error"},
		"a drain longer than allowed": {[]string{"serve", "--drain-delay=1m"}, "--drain-delay must be from 0s to 20s"},
		"two files to check":          {[]string{"config", "check", "a.yaml", "b.yaml"}, "accepts at most 1 arg(s), received 2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, code := s.command("", test.args...)
			require.Equal(t, 2, code)
			require.Contains(t, stderr, "tokenserver: "+test.want)
			require.Contains(t, stderr, "\nhint: ")
		})
	}
}

func TestHelpTeachesWithExamplesAndShowsEveryDefault(t *testing.T) {
	s := newSite(t)
	for _, args := range [][]string{{"serve"}, {"config", "init"}, {"config", "check"}, {"user", "hash"}, {"keys", "rotate"}, {"keys", "rewrap"},
		{"database", "copy"}, {"database", "backup"}} {
		stdout, _, code := s.command("", append(args, "--help")...)
		require.Zero(t, code)
		require.Contains(t, stdout, "Examples:\n  ")
		_, flags, _ := strings.Cut(stdout, "Flags:\n")
		for line := range strings.Lines(flags) {
			if strings.Contains(line, "--") && !strings.Contains(line, "--help") {
				require.Contains(t, line, "(default", line)
			}
		}
	}
	stdout, _, code := s.command("", "version")
	require.Zero(t, code)
	require.Equal(t, "dev\n", stdout)
}

func TestAVariableSetsAFlagBelowTheArguments(t *testing.T) {
	s := newSite(t)
	cmd := exec.CommandContext(t.Context(), binary, "serve")
	cmd.Env = append(os.Environ(), "TOKENSERVER_LOG_FORMAT=xml")
	_, stderr, code := s.finish(cmd, "")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `--log-format must be text or json, not "xml"`)
}
