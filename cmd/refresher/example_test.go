// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// TestTheExampleOfTheHelpWorks runs it as it is printed, against a token server
// whose certificate is of an authority of its own, as the bundled one's.
func TestTheExampleOfTheHelpWorks(t *testing.T) {
	curl, err := exec.LookPath("curl")
	require.NoError(t, err)
	help, err := exec.Command(binary, "--help").Output()
	require.NoError(t, err)
	_, example, found := strings.Cut(string(help), "on a workstation\n")
	require.True(t, found)
	example, _, found = strings.Cut(example, "\nWithout ca.crt")
	require.True(t, found)

	server := tokenservertest.Start(t, tokenservertest.WithTLS())
	app := registerApp(t, server)
	work, tools := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(binary, filepath.Join(tools, "refresher")))
	secret := credentialsDir(t, map[string]string{
		"client-id": app.ClientID, "client-secret": app.ClientSecret, "token-url": server.URL + oauth.PathToken, "ca.crt": pemText("CERTIFICATE", server.HTTP.Certificate().Raw),
	})
	// The template is kubectl's own business: the key in it is what is asked for.
	require.NoError(t, os.WriteFile(filepath.Join(tools, "kubectl"), []byte(`#!/bin/sh
key=${5#*index .data \"}
cat "`+secret+`/${key%%\"*}"
`), 0o755))
	script := exec.CommandContext(t.Context(), "sh", "-euc", strings.ReplaceAll(example, "https://id.example.com", server.URL))
	script.Dir = work
	script.Env = append(os.Environ(), "PATH="+tools+":"+filepath.Dir(curl)+":"+os.Getenv("PATH"))
	out, err := script.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), `"username"`)
	require.Contains(t, string(out), "published a token")

	// Without ca.crt it says what is missing.
	require.NoError(t, os.WriteFile(filepath.Join(work, "creds", "ca.crt"), nil, 0o600))
	p := start(t, "--credentials-dir="+work+"/creds", "--output-dir="+work+"/other", "--once", "--once-timeout=1s")
	require.Equal(t, exitFailed, p.exitCode())
	require.Contains(t, p.output.String(), "reason=CertificateInvalid")
	require.Contains(t, p.output.String(), "put the authority's certificate into ca.crt beside the credentials, or name its file by --ca-file")
}
