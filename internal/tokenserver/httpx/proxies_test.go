// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

func TestOnlyTrustedProxiesTellTheSource(t *testing.T) {
	proxies := httpx.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for name, test := range map[string]struct {
		peer    string
		headers []string
		want    string
	}{
		"through a proxy":                        {"10.0.0.1:80", []string{"192.0.2.7"}, "192.0.2.7"},
		"through two proxies":                    {"10.0.0.1:80", []string{"192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
		"through two proxies, two header lines":  {"10.0.0.1:80", []string{"192.0.2.7", "10.0.0.2"}, "192.0.2.7"},
		"with an invented hop in front":          {"10.0.0.1:80", []string{"203.0.113.1, 192.0.2.7"}, "192.0.2.7"},
		"by IPv6":                                {"[::1]:80", []string{"2001:db8::1"}, "2001:db8::1"},
		"a proxy that listens on both protocols": {"[::ffff:10.0.0.1]:80", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
		"a proxy that tells the port":            {"10.0.0.1:80", []string{"203.0.113.1, 192.0.2.7:50123"}, "192.0.2.7"},
		"two proxies that tell the port":         {"10.0.0.1:80", []string{"192.0.2.7:50123, 10.0.0.2:50124"}, "192.0.2.7"},
		"IPv6 with a port":                       {"10.0.0.1:80", []string{"[2001:db8::1]:50123"}, "2001:db8::1"},
		"IPv6 in brackets":                       {"10.0.0.1:80", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"IPv6 with a zone":                       {"10.0.0.1:80", []string{"fe80::1%eth0"}, "fe80::1"},
		"IPv4 in brackets":                       {"10.0.0.1:80", []string{"[192.0.2.7]"}, ""},
		"half a bracket":                         {"10.0.0.1:80", []string{"[2001:db8::1"}, ""},
		"directly":                               {"192.0.2.7:80", []string{"203.0.113.1"}, ""},
		"a proxy that tells nothing":             {"10.0.0.1:80", nil, ""},
		"a proxy that tells nonsense":            {"10.0.0.1:80", []string{"192.0.2.7, unknown"}, ""},
		"from a proxy itself":                    {"10.0.0.1:80", []string{"10.0.0.2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.peer
			r.Header["X-Forwarded-For"] = test.headers
			want := netip.Addr{}
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			require.Equal(t, want, proxies.Of(r))
		})
	}
}
