// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func TestOpenIDClient(t *testing.T) {
	i := serve(t)
	app, machine := register(t, i, webApp), register(t, i, machineApp)
	result := converse(t, i, "openid-client.mjs", map[string]string{
		"issuer": i.URL + oauth.IssuerPath, "clientID": app.ClientID, "clientSecret": app.ClientSecret,
		"machineID": machine.ClientID, "machineSecret": machine.ClientSecret, "redirectURI": redirectURI,
	})
	require.Contains(t, result["endSession"], i.URL+oauth.PathEndSession)
	delete(result, "endSession")
	require.Equal(t, map[string]any{
		"sub": tokenservertest.UserID, "email": "ulf@example.com", "rotated": true, "active": true,
		"revoked": "invalid_grant", "inactive": false, "machineScope": "profile",
	}, result)
}

func TestOAuth4WebAPI(t *testing.T) {
	i := serve(t)
	app := register(t, i, publicApp)
	result := converse(t, i, "oauth4webapi.mjs", map[string]string{
		"issuer": i.URL + oauth.IssuerPath, "clientID": app.ClientID, "redirectURI": redirectURI,
	})
	require.Equal(t, map[string]any{
		"sub": tokenservertest.UserID, "username": "ulf", "rotated": true, "sameMetadata": true,
	}, result)
}

// message is one line of the conversation with a script.
type message struct {
	Authorize string         `json:"authorize"`
	Result    map[string]any `json:"result"`
	Error     string         `json:"error"`
}

// converse runs a script of node/ and plays the person it sends to the
// authorization endpoint.
func converse(t *testing.T, i *tokenservertest.Instance, script string, configuration map[string]string) map[string]any {
	t.Helper()
	command := exec.CommandContext(t.Context(), "node", filepath.Join(install(t), script))
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	require.NoError(t, err)
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	defer func() { _ = command.Wait() }()
	defer func() { _ = in.Close() }()

	require.NoError(t, json.NewEncoder(in).Encode(configuration))
	lines := json.NewDecoder(bufio.NewReader(out))
	for {
		var m message
		require.NoError(t, lines.Decode(&m))
		switch {
		case m.Error != "":
			t.Fatal(m.Error)
		case m.Result != nil:
			return m.Result
		}
		landed := newPerson(t, i).Authorize(m.Authorize)
		require.NoError(t, json.NewEncoder(in).Encode(map[string]string{"landed": landed}))
	}
}

// install copies the scripts beside the installed packages, because Node.js
// looks for packages from where a script is.
func install(t *testing.T) string {
	t.Helper()
	packages, err := filepath.Abs("../../bin/clients/node_modules")
	require.NoError(t, err)
	require.DirExists(t, packages, "the npm packages are missing: run make test, or npm ci as hack/npm.sh does")
	folder := t.TempDir()
	scripts, err := filepath.Glob("node/*.mjs")
	require.NoError(t, err)
	for _, script := range scripts {
		source, err := os.Open(script)
		require.NoError(t, err)
		target, err := os.Create(filepath.Join(folder, filepath.Base(script)))
		require.NoError(t, err)
		_, err = io.Copy(target, source)
		require.NoError(t, err)
		require.NoError(t, source.Close())
		require.NoError(t, target.Close())
	}
	require.NoError(t, os.Symlink(packages, filepath.Join(folder, "node_modules")))
	return folder
}
