// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// instantly answers every request at once, in a bubble whose clock moves only
// while everybody waits.
type instantly struct{ extensions string }

func (s instantly) RoundTrip(r *http.Request) (*http.Response, error) {
	body := fmt.Sprintf(`{"issuer":"http://%[1]s%[2]s","token_endpoint":"http://%[1]s/token","connectedapps_extensions":%[3]s}`,
		r.URL.Host, oauth.IssuerPath, s.extensions)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

// waits is how long n calls wait for their turn after those before them.
func waits(t *testing.T, client *Client, n int) time.Duration {
	t.Helper()
	began := time.Now()
	for range n {
		_, err := client.send(t.Context(), request{op: "calling", method: http.MethodGet, path: "/", success: []int{http.StatusOK}}, "")
		require.NoError(t, err)
	}
	return time.Since(began)
}

func TestWhoIsLimited(t *testing.T) {
	const ours, plain = `["external_id"]`, `[]`
	for name, row := range map[string]struct {
		configured float64
		extensions string
		seconds    float64
	}{
		"a server with our extensions is not":                {extensions: ours, seconds: 0},
		"any other server is":                                {extensions: plain, seconds: 20},
		"a server with our extensions is when it is wished":  {configured: 100, extensions: ours, seconds: 10},
		"any other server may get more when it is wished":    {configured: 500, extensions: plain, seconds: 2},
		"a server with our extensions may get less, as well": {configured: 10, extensions: ours, seconds: 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, err := New(Config{URL: "http://id.example.com", RequestsPerSecond: row.configured})
				require.NoError(t, err)
				client.http.Transport = instantly{row.extensions}
				_, err = client.Discover(t.Context())
				require.NoError(t, err)
				waits(t, client, 1000) // all that was saved up
				require.InDelta(t, row.seconds, waits(t, client, 1000).Seconds(), 0.1)
			})
		})
	}
}

func TestAServerIsLimitedUntilItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := New(Config{URL: "http://id.example.com"})
		require.NoError(t, err)
		client.http.Transport = instantly{`["external_id"]`}
		waits(t, client, 1000)
		require.InDelta(t, 2, waits(t, client, 100).Seconds(), 0.1)
		_, err = client.Discover(t.Context())
		require.NoError(t, err)
		require.Zero(t, waits(t, client, 1000))

		client.http.Transport = instantly{`[]`}
		_, err = client.Discover(t.Context())
		require.NoError(t, err)
		waits(t, client, 1000)
		require.InDelta(t, 2, waits(t, client, 100).Seconds(), 0.1, "another server took its place")
	})
}
