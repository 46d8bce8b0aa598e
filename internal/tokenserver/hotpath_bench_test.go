// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/logline"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// The whole of a request but the network, with both logs. make bench-tokenserver
// measures it from outside.
func BenchmarkRequest(b *testing.B) {
	i := tokenservertest.Start(b, tokenservertest.WithConfig(func(c *tokenserver.Config) {
		c.Logger = slog.New(logline.NewTextHandler(io.Discard, slog.LevelInfo))
	}))
	credentials := url.Values{"client_id": {i.AdminClientID}, "client_secret": {i.AdminClientSecret}}
	with := func(name, value string) string {
		return credentials.Encode() + "&" + url.Values{name: {value}}.Encode()
	}
	ask := func(path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		i.Server.Handler().ServeHTTP(w, r)
		return w
	}
	var issued oauth.TokenResponse
	clientCredentials := with("grant_type", oauth.GrantClientCredentials)
	require.NoError(b, json.Unmarshal(ask(oauth.PathToken, clientCredentials).Body.Bytes(), &issued))
	for _, c := range []struct{ name, path, body string }{
		{"client_credentials", oauth.PathToken, clientCredentials},
		{"introspection", oauth.PathIntrospect, with("token", issued.AccessToken)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if w := ask(c.path, c.body); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
