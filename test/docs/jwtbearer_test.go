// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// walkthrough is docs/jwt-bearer.md, whose commands are run in a folder.
type walkthrough struct {
	t              *testing.T
	folder, server string
	page           string
	// commands are its blocks before the part about Kubernetes, in order.
	commands []string
}

func readWalkthrough(t *testing.T) *walkthrough {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "jwt-bearer.md"))
	require.NoError(t, err)
	page, _, found := strings.Cut(string(text), "## In Kubernetes")
	require.True(t, found)
	w := &walkthrough{t: t, folder: t.TempDir(), server: "http://localhost:" + freePort(t), page: page}
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		w.commands = append(w.commands, block[1])
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(w.folder, "bin", "tokenserver"), root+"/cmd/tokenserver").CombinedOutput()
	require.NoError(t, err, string(out))
	return w
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

// command is a shell in the folder. The page's ports are those of a laptop,
// where nobody else has them.
func (w *walkthrough) command(script string) *exec.Cmd {
	w.t.Helper()
	script = strings.NewReplacer(
		"tokenserver config init", "tokenserver config init --public-url="+w.server,
		"tokenserver serve", "exec tokenserver serve --operations-listen=127.0.0.1:0",
		"http://localhost:8080", w.server,
	).Replace(script)
	command := exec.CommandContext(w.t.Context(), "bash", "-euo", "pipefail", "-c", script)
	command.Dir = w.folder
	command.Env = append(os.Environ(), "PATH="+filepath.Join(w.folder, "bin")+":"+os.Getenv("PATH"))
	return command
}

func (w *walkthrough) run(script string) string {
	w.t.Helper()
	out, err := w.command(script).CombinedOutput()
	require.NoError(w.t, err, "%s\n%s", script, out)
	return string(out)
}

// serve runs the server until the test ends.
func (w *walkthrough) serve(script string) {
	w.t.Helper()
	server := w.command(script)
	server.Stderr = w.t.Output()
	require.NoError(w.t, server.Start())
	w.t.Cleanup(func() { _ = server.Wait() }) // the test's context has ended it
	require.Eventually(w.t, func() bool {
		response, err := http.Get(w.server + "/accounts/api/v2/oauth2/jwks")
		return err == nil && response.Body.Close() == nil && response.StatusCode < http.StatusInternalServerError
	}, time.Minute, 20*time.Millisecond)
}

func TestTheJWTBearerPageLeadsToAToken(t *testing.T) {
	w := readWalkthrough(t)
	require.Len(t, w.commands, 6, "set up, serve, know, sign, ask, use")
	w.run(w.commands[0])
	w.serve(w.commands[1])
	know, sign, ask, use := w.commands[2], w.commands[3], w.commands[4], w.commands[5]

	profile := w.run(know + sign + ask + use)
	require.Contains(t, profile, `"access_token":"`)
	require.Contains(t, profile, `"username":"jsmith"`)
	require.Contains(t, profile, `"firstName":"Jane"`)
	require.Contains(t, profile, `"idprovider_id":"corp"`)

	refusals := regexp.MustCompile("(?m)^\\| `([^…`]*)` \\|").FindAllStringSubmatch(w.page, -1)
	wrong := []struct{ name, script string }{
		{"another key", know + strings.Replace(sign, "-sign private.pem", "-sign other.pem", 1) + "openssl genrsa -out other.pem 2048\n" + ask},
		{"another provider", know + strings.Replace(sign, "v2|corp|", "v2|partners|", 1) + ask},
		{"the same assertion again", know + strings.Replace(sign, "$(openssl rand -hex 16)", "1", 1) + ask + ask},
		{"a long life", know + strings.Replace(sign, "now + 300", "now + 7200", 1) + ask},
		{"another client", know + "client_id=nobody\n" + sign + ask},
	}
	require.Len(t, refusals, len(wrong), "each refusal of the page has its row")
	for i, row := range wrong {
		t.Run(row.name, func(t *testing.T) {
			require.Contains(t, w.run(row.script), "the assertion is not accepted: "+refusals[i][1])
		})
	}
}
