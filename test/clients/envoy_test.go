// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/refresher"
)

// TestTheEnvoyConfigurationOnThePageIsValid by Envoy's own types and rules. No Envoy
// runs here.
func TestTheEnvoyConfigurationOnThePageIsValid(t *testing.T) {
	t.Parallel()
	bootstrap, secret := onThePage(t, "proxies.md", "yaml", "# envoy.yaml"), onThePage(t, "proxies.md", "yaml", "# token.yaml")
	for name, row := range map[string]struct {
		old, with string // in either file
		says      string // empty: it is valid
	}{
		"as it is":                     {},
		"for an AccessToken":           {"credential:\n                    name: token", "header_value_prefix: \"Bearer \"\n                  credential:\n                    name: token", ""},
		"an unknown field":             {"overwrite: true", "overwrites: true", `unknown field "overwrites"`},
		"an unknown type":              {"generic.v3.Generic", "generic.v3.General", "generic.v3.General"},
		"no credential in the filter":  {"credential:\n                name: envoy.http", "x: {}\n              credential:\n                name: envoy.http", `unknown field "x"`},
		"a rule broken far inside":     {"path: /etc/envoy/token.yaml", `path: ""`, "PathConfigSource.Path: value length must be at least 1"},
		"a rule broken in the filter":  {"prefix: /}", "prefix: /, headers: [{name: \"\"}]}", "HeaderMatcher.Name: value length must be at least 1"},
		"a rule broken in the secret":  {"filename: /var/run/connectedapps/token/authorization-header", `filename: ""`, "DataSource.Filename: value length must be at least 1"},
		"a port that is none":          {"port_value: 8081", "port_value: 80810", "SocketAddress.PortValue: value must be less than or equal to 65535"},
		"a member that is there twice": {"name: token\n  generic_secret", "name: token\n  name: other\n  generic_secret", "already set in map"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			command := exec.CommandContext(t.Context(), program(t, "envoyconfig"))
			require.Contains(t, bootstrap+secret, row.old)
			for file, text := range map[string]string{"envoy.yaml": bootstrap, "token.yaml": secret} {
				require.NoError(t, os.WriteFile(filepath.Join(folder, file), []byte(strings.Replace(text, row.old, row.with, 1)), 0o600))
			}
			command.Args = append(command.Args, filepath.Join(folder, "envoy.yaml"), filepath.Join(folder, "token.yaml"))
			out, err := command.CombinedOutput()
			if row.says == "" {
				require.NoError(t, err, string(out))
				return
			}
			require.Error(t, err)
			require.Contains(t, string(out), row.says)
		})
	}
}

// TestEnvoysFileIsTheValueOfAHeader: Envoy sends it as it is.
func TestEnvoysFileIsTheValueOfAHeader(t *testing.T) {
	t.Parallel()
	secret := onThePage(t, "proxies.md", "yaml", "# token.yaml")
	_, file, found := strings.Cut(secret, "filename: /var/run/connectedapps/token/")
	require.True(t, found)
	file, _, _ = strings.Cut(file, "}")
	directory, now := t.TempDir(), time.Now()
	held := &refresher.Held{Token: &refresher.Token{AccessToken: "the-token", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}}
	require.NoError(t, refresher.FileOutput{Dir: atomicfile.Dir{Path: directory}}.Publish(held, nil))
	value, err := os.ReadFile(filepath.Join(directory, file))
	require.NoError(t, err)
	require.Equal(t, "Bearer the-token", string(value))
}
