// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
)

func TestAPublicURLHasOneWayToBeWritten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"a host name":                   {"https://id.example.com", ""},
		"a port of its own":             {"https://id.example.com:8443", ""},
		"loopback by name":              {"http://localhost:8080", ""},
		"an IPv6 address":               {"https://[2001:db8::1]:8443", ""},
		"a name with an underscore":     {"https://token_server.example.com", ""},
		"a punycode name":               {"https://xn--bcher-kva.example", ""},
		"the default port of https":     {"https://id.example.com:443", "must be written https://id.example.com, as clients do before they compare it"},
		"the default port of http":      {"http://localhost:80", "must be written http://localhost, "},
		"an empty port":                 {"https://id.example.com:", "must be written https://id.example.com, "},
		"a port with zeros in front":    {"https://id.example.com:08443", "must be written https://id.example.com:8443, "},
		"port 0":                        {"https://id.example.com:0", `must have a port from 1 to 65535, not "0"`},
		"a port above 65535":            {"https://id.example.com:65536", "must have a port from 1 to 65535"},
		"a port that is a name":         {"https://id.example.com:https", "must have a port from 1 to 65535"},
		"capitals in the host":          {"https://ID.example.com", "must be written https://id.example.com, "},
		"capitals in the scheme":        {"HTTPS://id.example.com", "must be written https://id.example.com, "},
		"a host that is not ASCII":      {"https://b\u00fccher.example", "must be written https://xn--bcher-kva.example, "},
		"full-width letters":            {"https://\uff49\uff44.example.com", "must be written https://id.example.com, "},
		"an ideographic dot":            {"https://id\u3002example.com", "must be written https://id.example.com, "},
		"punycode in capitals":          {"https://XN--BCHER-KVA.example", "must be written https://xn--bcher-kva.example, "},
		"punycode of nothing":           {"https://xn--a.example", "must have a host name"},
		"punycode of plain letters":     {"https://xn--abc-.example", "must have a host name"},
		"a final dot":                   {"https://id.example.com.", "must be written https://id.example.com, "},
		"two final dots":                {"https://id.example.com..", "must have a host name"},
		"an empty label":                {"https://id..example.com", "must have a host name"},
		"a dot alone":                   {"https://.", "must have a host name"},
		"a percent sign":                {"https://id%2eexample.com", "must have a host name"},
		"a space":                       {"https://id example.com", "must have a host name"},
		"an IPv6 address with a zone":   {"https://[fe80::1%25eth0]", "must have an IPv6 address without a zone"},
		"a long IPv6 address":           {"https://[2001:0db8:0:0:0:0:0:1]", "must be written https://[2001:db8::1], "},
		"IPv6 in capitals":              {"https://[2001:DB8::1]", "must be written https://[2001:db8::1], "},
		"IPv6 with a dotted end":        {"https://[::ffff:127.0.0.1]", "must be written https://[::ffff:7f00:1], "},
		"IPv6 without brackets":         {"https://2001:db8::1", "an IPv6 address stands in brackets"},
		"an IPv4 address in brackets":   {"https://[127.0.0.1]", "must have an IPv6 address"},
		"an IPv4 address of two parts":  {"https://127.1", "must have an IPv4 address of four plain numbers"},
		"an octal IPv4 address":         {"https://010.0.0.1", "must have an IPv4 address of four plain numbers"},
		"an IPv4 address as one number": {"https://2130706433", "must have an IPv4 address of four plain numbers"},
		"a hexadecimal IPv4 address":    {"https://0x7f000001", "must have an IPv4 address of four plain numbers"},
		"http beyond loopback":          {"http://id.example.com", "must be https: plain http is for localhost"},
		"http on an IPv4 loopback":      {"http://127.0.0.1:8080", ""},
		"http on the IPv6 loopback":     {"http://[::1]:8080", ""},
		"no host":                       {"https://", "must be an https URL"},
		"a port alone":                  {"https://:8443", "must be scheme, host and port"},
		"a backslash":                   {"https://id.example.com\\x", "must be scheme, host and port only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problem := tokenserveroptions.PublicURLProblem(test.text)
			if test.want == "" {
				require.Empty(t, problem)
				return
			}
			require.Contains(t, problem, test.want)
		})
	}
}

// TestAPublicURLFollowsTheNamespaceOfThePod: one file serves every namespace.
func TestAPublicURLFollowsTheNamespaceOfThePod(t *testing.T) {
	path := folder(t, strings.Replace(valid, "https://id.example.com", "https://tokenserver.$(POD_NAMESPACE).svc", 1)+
		"workloadIssuers: [{name: prod, issuer: 'https://c.example'}]\n")
	t.Setenv("POD_NAMESPACE", "")
	_, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.ErrorContains(t, err, "publicURL: holds $(POD_NAMESPACE), and the environment variable POD_NAMESPACE is not set")
	_, err = tokenserveroptions.LoadText(path)
	require.NoError(t, err, "a pipeline checks the rest")

	t.Setenv("POD_NAMESPACE", "identity")
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	require.Equal(t, "https://tokenserver.identity.svc", loaded.Config.PublicURL)
	require.Equal(t, "https://tokenserver.identity.svc/accounts/api/v2/oauth2", loaded.Config.WorkloadIssuers[0].Audience)
}

// FuzzPublicURL: what is proposed is accepted, and what is accepted is an URL
// that Go reads back as it was written.
func FuzzPublicURL(f *testing.F) {
	for _, text := range []string{"https://id.example.com:443", "https://b\u00fccher.example.", "https://[::FFFF:1.2.3.4]:08443", "http://0x7f.1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		problem := tokenserveroptions.PublicURLProblem(text)
		if problem == "" {
			u, err := url.Parse(text)
			require.NoError(t, err)
			require.Equal(t, text, u.String())
			return
		}
		if _, proposed, ok := strings.Cut(problem, "must be written "); ok {
			proposed, _, _ = strings.Cut(proposed, ", as clients")
			again := tokenserveroptions.PublicURLProblem(proposed)
			require.True(t, again == "" || strings.HasPrefix(again, "must be https:"), "%s: %s", proposed, again)
		}
	})
}
