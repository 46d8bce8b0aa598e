// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

func publicKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// asking is a flood of requests, of as many clients as there are honest ones.
func asking(next func(n int64) []byte, allowed ...int) flood {
	return askingWith(honestClients, next, allowed...)
}

// junk is one whose answers may cost so many tokens each.
func junk(costs float64, next func(n int64) []byte, allowed ...int) flood {
	f := asking(next, allowed...)
	f.costs = costs
	return f
}

func askingWith(workers int, next func(n int64) []byte, allowed ...int) flood {
	var n atomic.Int64
	return flood{workers: workers, allowed: allowed, run: func(ctx context.Context, s *server, begun func(), told *answers) {
		begun()
		talk(ctx, s.connect, func() []byte { return next(n.Add(1)) }, told.take(allowed))
	}}
}

func always(send []byte) func(int64) []byte { return func(int64) []byte { return send } }

// oneOf sends each in turn.
func oneOf(sends ...[]byte) func(int64) []byte {
	return func(n int64) []byte { return sends[int(n)%len(sends)] }
}

func signIn(n int64, name string) []byte {
	return request(http.MethodPost, "/accounts/login", fmt.Sprintf(`{"username":%q,"password":"wrong"}`, name), mediaJSON,
		fmt.Sprintf("X-Forwarded-For: 203.%d.%d.%d", n>>16&255, n>>8&255, n&255))
}

func TestAFloodOfPasswords(t *testing.T) {
	s := start(t, false, "")
	h := begin(t, s)
	for _, test := range []struct {
		name string
		flood
	}{
		{"of one user", asking(always(signIn(1, "owner")), 401, 429, 503)},
		{"of one name that nobody has", asking(always(signIn(2, "nobody")), 401, 429, 503)},
		{"of many names from one address", asking(func(n int64) []byte { return signIn(3, fmt.Sprintf("a%d", n)) }, 401, 429, 503)},
		{"of many names from many addresses", asking(func(n int64) []byte { return signIn(n, fmt.Sprintf("b%d", n)) }, 401, 503)},
		{"of many at once, which fills the queue", askingWith(32, func(n int64) []byte { return signIn(n, fmt.Sprintf("c%d", n)) }, 401, 503)},
		{"through an app", asking(func(n int64) []byte {
			return form("grant_type", oauth.GrantPassword, "client_id", "forms", "client_secret", secret, "username", fmt.Sprintf("d%d", n), "password", "wrong")
		}, 400, 503)},
		{"through an app that does not know its secret", junk(3, func(n int64) []byte {
			return form("grant_type", oauth.GrantPassword, "client_id", "forms", "client_secret", "wrong", "username", fmt.Sprintf("e%d", n), "password", "wrong")
		}, 401)},
		{"of client secrets", junk(3, func(n int64) []byte {
			return form("grant_type", oauth.GrantClientCredentials, "client_id", "job", "client_secret", fmt.Sprintf("wrong-%d", n))
		}, 401)},
		{"of passwords without end", asking(always(form("grant_type", oauth.GrantPassword, "client_id", "forms", "client_secret", secret,
			"username", strings.Repeat("u", 30<<10), "password", strings.Repeat("p", 30<<10))), 400, 429, 503)},
	} {
		t.Run(test.name, func(t *testing.T) { survive(t, s, h, test.flood) })
	}
}

// jwt writes one whose signature is noise.
func jwt(header, payload string) string {
	text := base64.RawURLEncoding.EncodeToString
	return text([]byte(header)) + "." + text([]byte(payload)) + "." + text(bytes.Repeat([]byte{1}, 64))
}

func TestAFloodOfJunk(t *testing.T) {
	s := start(t, false, "")
	h := begin(t, s)
	const es256 = `{"alg":"ES256","kid":"%s"}`
	const claims = `{"iss":"asserting","sub":"asserting","aud":"x","exp":9999999999,"jti":"%d"%s}`
	var assertions []string
	for _, header := range []string{
		fmt.Sprintf(es256, "a"), fmt.Sprintf(es256, "../../../../etc/passwd"), `{"alg":"none"}`, `{"alg":"HS256"}`, `{"alg":"RS256","jku":"http://127.0.0.1:1/"}`,
		`{"alg":"ES256","crit":["x"],"x":1}`, `{"alg":"RSA-OAEP","enc":"A256GCM"}`, `{"alg":"ES256","x":` + strings.Repeat("[", 8000), `[]`, `{}`, "",
	} {
		assertions = append(assertions, jwt(header, fmt.Sprintf(claims, 1, "")))
	}
	for _, more := range []string{
		`,"x":` + strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), `,"x":` + strings.Repeat("[", 8000), `,"iss":"asserting"`,
		`,"x":1e999999999`, `,"x":` + strings.Repeat("9", 8000), strings.Repeat(`,"a":1`, 1000), ",\"x\":\"\xff\"", `,"x":"` + strings.Repeat("y", 40<<10) + `"`,
	} {
		assertions = append(assertions, jwt(fmt.Sprintf(es256, "a"), fmt.Sprintf(claims, 1, more)))
	}
	assertions = append(assertions, strings.Repeat(".", 60<<10), strings.Repeat("a.", 1000), "a.b.c.d.e", "=.=.=", "!.!.!", jwt(fmt.Sprintf(es256, "a"), "\x00"))
	var granted, authenticating [][]byte
	for _, assertion := range assertions {
		granted = append(granted, form("grant_type", oauth.GrantJWTBearer, "assertion", assertion))
		authenticating = append(authenticating, form("grant_type", oauth.GrantClientCredentials, "client_id", "asserting",
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion))
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write(bytes.Repeat([]byte("a=a&"), 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	post := func(body string, headers ...string) []byte {
		return request(http.MethodPost, oauth.PathToken, body, headers...)
	}
	const credentials = `"grant_type":"client_credentials","client_id":"job","client_secret":"` + secret + `"`
	apps := func(method, query, body string) []byte {
		return request(method, oauth.PathConnectedApps+query, body, mediaJSON, "Authorization: Bearer "+s.token(t))
	}
	asked := url.Values{"response_type": {"code"}, "client_id": {"portal"}, "redirect_uri": {"https://portal.example.com/callback"}, "scope": {"openid"}}

	for _, test := range []struct {
		name string
		flood
	}{
		{"assertions", junk(8, oneOf(granted...), 400, 401)},
		{"client assertions", junk(8, oneOf(authenticating...), 400, 401)},
		{"JSON", junk(8, oneOf(
			post(strings.Repeat("[", 60<<10), mediaJSON), post(`{"a":`+strings.Repeat("[", 60<<10), mediaJSON),
			post(`{`+credentials+strings.Repeat(`,"scope":"a"`, 5000)+`}`, mediaJSON), post(`{`+credentials+strings.Repeat(`,"a":1`, 5000)+`}`, mediaJSON),
			post(`{"grant_type":`+strings.Repeat("9", 60<<10)+`}`, mediaJSON), post(`{"grant_type":1e999999}`, mediaJSON),
			post("{\"grant_type\":\"\xff\xfe\"}", mediaJSON), post(`{"grant_type":"\ud800"}`, mediaJSON), post(strings.Repeat("{\"a\":", 10<<10), mediaJSON),
		), 400)},
		{"JSON of a MiB", junk(8, always(post(strings.Repeat("[", 1<<20), mediaJSON)), 413)},
		{"forms", junk(8, oneOf(
			post(strings.Repeat("a=a&", 15<<10), mediaForm), post(strings.Repeat("grant_type=a&", 4<<10), mediaForm), post(strings.Repeat("%", 60<<10), mediaForm),
			post(strings.Repeat("&", 60<<10), mediaForm),
		), 400)},
		{"bodies that say they are zipped", junk(8, always(post(zipped.String(), mediaForm, "Content-Encoding: gzip")), 415)},
		{"apps without a token", junk(8, always(request(http.MethodPost, oauth.PathConnectedApps, strings.Repeat("[", 1<<20), mediaJSON)), 401)},
		{"apps that are junk, of an administrator", junk(60, oneOf(
			apps(http.MethodPost, "", strings.Repeat("[", 1<<20)), apps(http.MethodPost, "", `{"client_name":`+strings.Repeat("[", 1<<19)),
			apps(http.MethodPost, "", `{"a":1`+strings.Repeat(`,"a":1`, 100_000)+`}`),
		), 400)},
		{"lists of apps", junk(8, oneOf(apps(http.MethodGet, "?limit=1000000000", ""), apps(http.MethodGet, "?limit=500&offset=2000000000", ""),
			apps(http.MethodGet, "?limit=99999999999999999999", ""), apps(http.MethodGet, "?q="+strings.Repeat("%25", 8<<10), "")), 200, 400)},
		{"sign-ins", junk(8, oneOf(
			request(http.MethodGet, oauth.PathAuthorize+"?"+asked.Encode(), ""),
			request(http.MethodGet, oauth.PathAuthorize+"?"+asked.Encode()+"&state="+strings.Repeat("s", 20<<10), ""),
			request(http.MethodPost, oauth.PathAuthorize, asked.Encode(), mediaForm),
		), 302, 303, 400)},
		{"paths", junk(8, oneOf(request(http.MethodGet, "/"+strings.Repeat("a", 25<<10), ""), request("BREW", "/"+strings.Repeat("%00", 8<<10), ""),
			request(http.MethodGet, oauth.PathConnectedApps+"/"+strings.Repeat("a", 25<<10), "")), 400, 414)},
		{"headers", junk(8, always(request(http.MethodGet, "/", "", "X-Flood: "+strings.Repeat("a", 25<<10), "X-Forwarded-For: "+strings.Repeat("1.2.3.4, ", 300))), 200)},
	} {
		t.Run(test.name, func(t *testing.T) { survive(t, s, h, test.flood) })
	}
}
