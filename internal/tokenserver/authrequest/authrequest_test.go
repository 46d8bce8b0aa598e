// SPDX-License-Identifier: Apache-2.0

package authrequest

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const webID = "00000000000000000000000000000001"

type apps map[string]*clients.App

func (a apps) App(id string) (*clients.App, bool) { app, ok := a[id]; return app, ok }

func (apps) Standing(*clients.App) error { return nil }

func TestAnAddressIsMatchedAsRegistered(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		registered, given string
		want              bool
	}{
		"the same":                            {"https://a.example/cb", "https://a.example/cb", true},
		"an empty path is a slash":            {"https://a.example/", "https://a.example", true},
		"a slash is an empty path":            {"https://a.example", "https://a.example/", true},
		"the same with a query":               {"https://a.example?x", "https://a.example/?x", true},
		"a slash after a path is not nothing": {"https://a.example/cb", "https://a.example/cb/", false},
		"letter case":                         {"https://a.example/cb", "https://A.example/cb", false},
		"percent encoding":                    {"https://a.example/cb", "https://a.example/%63b", false},
		"loopback on any port":                {"http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", true},
		"loopback without its port":           {"http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true},
		"loopback by IPv6":                    {"http://[::1]/cb", "http://[::1]:8080/cb", true},
		"loopback, the last port":             {"http://127.0.0.1/cb", "http://127.0.0.1:65535/cb", true},
		"loopback, a port above the last":     {"http://127.0.0.1/cb", "http://127.0.0.1:65536/cb", false},
		"loopback, port 0":                    {"http://127.0.0.1/cb", "http://127.0.0.1:0/cb", false},
		"loopback, a port in disguise":        {"http://127.0.0.1/cb", "http://127.0.0.1:+80/cb", false},
		"loopback, another path":              {"http://127.0.0.1/cb", "http://127.0.0.1:8080/evil", false},
		"loopback, a port that is none":       {"http://127.0.0.1/cb", "http://127.0.0.1:8080@evil.example/cb", false},
		"loopback, an empty port":             {"http://127.0.0.1/cb", "http://127.0.0.1:/cb", false},
		"loopback, a longer host":             {"http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false},
		"loopback over https":                 {"https://127.0.0.1/cb", "https://127.0.0.1:8080/cb", false},
		"localhost has a port":                {"http://localhost/cb", "http://localhost:8080/cb", false},
		"a private scheme":                    {"com.example:/cb", "com.example:/cb", true},
		"a fragment":                          {"https://a.example/cb", "https://a.example/cb#", false},
		"a line end":                          {"https://a.example/cb", "https://a.example/cb\r\nX: y", false},
		"a backslash":                         {"https://a.example/", `https://a.example\`, false},
	} {
		assert.Equal(t, test.want, Registered([]string{test.registered}, test.given), name)
	}
}

func FuzzMatches(f *testing.F) {
	f.Add("http://127.0.0.1:99/cb")
	f.Add("https://a.example")
	registered := []string{"https://a.example/", "http://127.0.0.1/cb", "http://[::1]/"}
	f.Fuzz(func(t *testing.T, given string) {
		if !Registered(registered, given) {
			return
		}
		u, err := url.Parse(given)
		require.NoError(t, err)
		require.Contains(t, []string{"a.example", "127.0.0.1", "::1"}, u.Hostname())
		require.Nil(t, u.User)
		require.Empty(t, u.Fragment)
		if port := u.Port(); port != "" {
			n, err := strconv.Atoi(port)
			require.NoError(t, err)
			require.True(t, n >= 1 && n <= 65535, given)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("response_type=code&client_id=" + webID + "&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb%3Fx%3D1&scope=openid+profile")
	f.Add("response_type=code&client_id=" + webID + "&scope=profile&prompt=login+consent&max_age=0&nonce=n&state=%ff&resource=a&resource=b")
	f.Add("response_type=code&client_id=" + webID + "&scope=openid+groups&redirect_uri=")
	f.Add("client_id=%00&client_id")
	all := apps{webID: clients.Prepare(storage.App{ClientID: webID, Enabled: true, GrantTypes: []string{oauth.GrantAuthorizationCode},
		RedirectURIs: []string{"https://app.example.com/cb?x=1"}, Scopes: []string{"openid", "profile"}})}
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		r, refused := parse(all, query)
		if refused == nil || refused.Kind == "" {
			require.True(t, Registered(r.App.RedirectURIs, r.RedirectURI), "only ever a registered address")
			require.True(t, validText(r.State), "what goes back is text")
		}
		if refused != nil {
			return
		}
		require.NotEmpty(t, r.Scopes)
		require.Subset(t, r.App.Scopes, r.Scopes)
		require.LessOrEqual(t, len(r.Nonce), maxNonce)
		require.True(t, !r.Prompts(PromptNone) || len(r.prompt) == 1)
		if r.GivenURI == "" {
			require.NotContains(t, strings.Fields(query.Get("scope")), "openid", "OpenID Connect names its address")
		}
		query.Add("connectedapps_unknown", "1")
		query.Add("connectedapps_unknown", "2")
		query.Add("prompt", "")
		again, refused := parse(all, query)
		require.Nil(t, refused, "what belongs to others, or is empty, changes nothing")
		require.Equal(t, r, again)
	})
}
