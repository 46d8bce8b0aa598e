// SPDX-License-Identifier: Apache-2.0

package vendor_test

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// run starts a server and runs the examples against it.
func run(t *testing.T, options ...tokenservertest.Option) (string, error) {
	t.Helper()
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	i := tokenservertest.Start(t, append(options, tokenservertest.WithPasswordHash(hash))...)
	allowAssertions(i)
	command := exec.CommandContext(t.Context(), "bash", "examples.sh")
	command.Env = append(os.Environ(), "BASE_URL="+i.URL, "LOGIN=olga", "PASSWORD="+tokenservertest.Password, "IDP_ID="+tokenservertest.ProviderID)
	out, err := command.CombinedOutput()
	return string(out), err
}

// allowAssertions is the one setting that the examples need: the platform lets
// every app speak for its organization's providers and takes assertions that
// never expire, and this server asks the configuration.
func allowAssertions(i *tokenservertest.Instance) {
	changed := tokenservertest.Directory(func(org *directory.Organization, u *directory.User) {
		if org != nil && org.ID == tokenservertest.OrgID {
			org.Assertions = directory.Assertions{IdentityProviders: []string{tokenservertest.ProviderID}, WithoutExpiry: true}
		}
		if u != nil {
			before, _ := i.Directory.Load().User(u.ID)
			u.PasswordHash = before.PasswordHash
		}
	})
	i.Directory.Store(changed)
}

func TestTheVendorsExamplesRunAsPrinted(t *testing.T) {
	out, err := run(t)
	t.Log(out)
	require.NoError(t, err)
	require.Equal(t, 15, strings.Count(out, "✔"))
	for _, title := range []string{"Authorization Code & Refresh Token", "Password Grant", "JWT Bearer Grant", "Client Credentials Grant"} {
		require.Contains(t, out, title)
	}
	require.NotContains(t, out, "cas_", "no secret is shown")
	require.NotContains(t, out, tokenservertest.Password)
}

// The script is worth something only if it notices.
func TestTheScriptNoticesAWrongAnswer(t *testing.T) {
	out, err := run(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == oauth.PathToken {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"access_token":"x","token_type":"Bearer","expires_in":3600}`))
				return
			}
			next.ServeHTTP(w, r)
		})
	}))
	require.Error(t, err)
	require.Contains(t, out, "✘ 3. Retrieving the access token: token_type is Bearer, not bearer")
}
