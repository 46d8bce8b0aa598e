// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/plan"
)

// What a spec leaves out belongs to the server or, where it gives power, is off.
func TestWhatASpecLeavesOut(t *testing.T) {
	for name, row := range map[string]struct {
		live, want func(*plan.Client)
		changes    []plan.Change
	}{
		"a way to send the secret is the server's choice": {
			live: func(c *plan.Client) { c.AuthMethod = "client_secret_basic" },
			want: func(c *plan.Client) { c.AuthMethod = "" },
		},
		"a server that does not tell the way has one with a secret": {
			live: func(c *plan.Client) { c.AuthMethod = "" },
			want: func(c *plan.Client) { c.AuthMethod = "" },
		},
		"another way than the one in the spec differs": {
			live:    func(c *plan.Client) { c.AuthMethod = "client_secret_post" },
			want:    func(c *plan.Client) { c.AuthMethod = "client_secret_basic" },
			changes: []plan.Change{{Field: plan.FieldTokenEndpointAuthMethod, Old: "client_secret_post", New: "client_secret_basic"}},
		},
		"a key in place of the secret differs": {
			live:    func(c *plan.Client) { c.AuthMethod = "private_key_jwt" },
			want:    func(c *plan.Client) { c.AuthMethod = "" },
			changes: []plan.Change{{Field: plan.FieldTokenEndpointAuthMethod, Old: "private_key_jwt", New: "client_secret_post"}},
		},
		"a client that became public is of another type": {
			live:    func(c *plan.Client) { c.AuthMethod = "none" },
			want:    func(c *plan.Client) { c.AuthMethod = "" },
			changes: []plan.Change{{Field: plan.FieldClientType, Old: "Public", New: "Confidential"}},
		},
		"a client with a key is no public one": {
			live:    func(c *plan.Client) { c.AuthMethod = "private_key_jwt" },
			want:    func(c *plan.Client) { c.AuthMethod = "none" },
			changes: []plan.Change{{Field: plan.FieldClientType, Old: "Confidential", New: "Public"}},
		},
		"formats, algorithms and times are the server's choice": {
			live: func(c *plan.Client) {
				c.AccessTokenFormat, c.AccessTokenAlg, c.IDTokenAlg, c.RefreshGrace = "opaque", "RS256", "ES256", new(int64(0))
			},
			want: func(*plan.Client) {},
		},
		"formats, algorithms and times of the spec are compared": {
			live: func(*plan.Client) {},
			want: func(c *plan.Client) {
				c.AccessTokenFormat, c.AccessTokenAlg, c.IDTokenAlg, c.RefreshGrace = "opaque", "RS256", "ES256", new(int64(0))
			},
			changes: []plan.Change{
				{Field: plan.FieldAccessTokenFormat, Old: "the server's default", New: "opaque"},
				{Field: plan.FieldAccessTokenSigningAlg, Old: "the server's default", New: "RS256"},
				{Field: plan.FieldIDTokenSigningAlg, Old: "the server's default", New: "ES256"},
				{Field: plan.FieldRefreshGraceSeconds, Old: "the server's default", New: "0"},
			},
		},
		"what gives power is off": {
			live: func(c *plan.Client) {
				c.PostLogoutRedirectURIs, c.IdentityProviders = []string{"https://evil.example/"}, []string{"corp"}
				c.AssertionsWithoutExpiry, c.SkipUserConsent = true, true
			},
			want: func(*plan.Client) {},
			changes: []plan.Change{
				{Field: plan.FieldPostLogoutRedirectURIs, Old: "[https://evil.example/]", New: "[]"},
				{Field: plan.FieldIdentityProviders, Old: "[corp]", New: "[]"},
				{Field: plan.FieldAssertionsWithoutExpiry, Old: "true", New: "false"},
				{Field: plan.FieldSkipUserConsent, Old: "true", New: "false"},
			},
		},
		"a server that tells an empty list has none": {
			live: func(c *plan.Client) { c.PostLogoutRedirectURIs, c.IdentityProviders = []string{}, []string{} },
			want: func(*plan.Client) {},
		},
		"the order of identity providers does not count, nor an empty path": {
			live: func(c *plan.Client) {
				c.IdentityProviders, c.PostLogoutRedirectURIs = []string{"a", "b"}, []string{"https://a.example/"}
			},
			want: func(c *plan.Client) {
				c.IdentityProviders, c.PostLogoutRedirectURIs = []string{"b", "a"}, []string{"https://a.example"}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.changes, plan.Diff(client(row.live), client(row.want)))
		})
	}
}

func TestWhoHasASecret(t *testing.T) {
	for method, row := range map[string]struct{ secret, public bool }{
		"": {secret: true}, "client_secret_post": {secret: true}, "client_secret_basic": {secret: true}, "private_key_jwt": {}, "none": {public: true},
	} {
		c := plan.Client{AuthMethod: method}
		require.Equal(t, row.secret, c.HasSecret(), method)
		require.Equal(t, row.public, c.Public(), method)
		require.NotEmpty(t, c.Method())
	}
}
