// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// startPortal runs the demo's application with the files that the Secret of its
// ConnectedApp would have, and returns its address.
func startPortal(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	address := "http://localhost:" + port

	server := startServer(t)
	registered := newRelyingParty(t, server, func(app *oauth.ConnectedApp) {
		app.ClientName, app.RedirectURIs = "Payments Portal", []string{address + "/callback"}
	}).app
	folder := t.TempDir()
	for name, value := range map[string]string{
		"client-id": registered.ClientID, "client-secret": registered.ClientSecret,
		"issuer-url": server.URL + oauth.IssuerPath, "scopes": strings.Join(registered.Scopes, " "),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(value), 0o600))
	}

	program := filepath.Join(folder, "portal")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../hack/demo/portal").CombinedOutput()
	require.NoError(t, err, string(out))
	portal := exec.CommandContext(t.Context(), program, "--credentials-dir="+folder, "--url="+address)
	portal.Stderr = t.Output()
	require.NoError(t, portal.Start())
	t.Cleanup(func() { _ = portal.Wait() })
	require.Eventually(t, func() bool {
		response, err := http.Get(address)
		return err == nil && response.Body.Close() == nil
	}, time.Minute, 20*time.Millisecond)
	return address
}

func TestTheLinkOfTheDemoSignsIn(t *testing.T) {
	portal := startPortal(t)
	b := newTab(t, desktopLight)

	b.open(portal)
	b.press("Sign in")
	require.Contains(t, b.text(), "to continue to Payments Portal")
	signIn(b)
	require.Contains(t, b.text(), "Authorize Payments Portal")
	b.press("Refuse")
	require.Contains(t, b.text(), "Nobody signed in")
	require.Contains(t, b.text(), "access_denied")
	b.requireAccessible()
	b.forget() // the browser notes the page's status

	b.open(portal + "/sign-in")
	require.Contains(t, b.text(), "Authorize Payments Portal")
	b.press("Authorize")
	require.True(t, strings.HasPrefix(b.url(), portal+"/callback"), b.url())
	require.Contains(t, b.text(), "Signed in as Ulf User")
	require.Contains(t, b.text(), tokenservertest.UserID)
	b.requireAccessible()

	b.open(portal + "/callback?code=stolen&state=unknown")
	require.Contains(t, b.text(), "this browser has not begun to sign in")
	b.forget()
}
