// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

func get(ctx context.Context, c *http.Client, url string) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	return do(c, request)
}

// postPage posts a form as a page of the server does.
func (s *server) postPage(ctx context.Context, c *http.Client, path string, pairs ...string) (*http.Response, string, error) {
	page := *c
	page.Transport = fromHere{c.Transport, "http://" + s.public}
	return s.post(ctx, &page, path, pairs...)
}

// fromHere adds what a browser says of the page that posts.
type fromHere struct {
	http.RoundTripper
	origin string
}

// RoundTrip implements http.RoundTripper.
func (f fromHere) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Origin", f.origin)
	return f.RoundTripper.RoundTrip(r)
}

const (
	form       = "application/x-www-form-urlencoded"
	jsonObject = "application/json"
)

// message is a request that says how long it is.
func message(method, path, media, body string, headers ...string) string {
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: x", "Content-Type: " + media, fmt.Sprint("Content-Length: ", len(body))}, headers...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// send sends a message on several connections, again and again, and holds every
// answer to the statuses that it may have.
func (s *server) send(ctx context.Context, times int, text func(n int) string, statuses ...int) {
	s.t.Helper()
	const connections = 8
	var group sync.WaitGroup
	var sent atomic.Int64
	for range connections {
		group.Go(func() {
			var dialer net.Dialer
			for {
				n := int(sent.Add(1))
				if n > times {
					return
				}
				connection, err := dialer.DialContext(ctx, "tcp", s.public)
				if err != nil {
					assert.Fail(s.t, err.Error())
					return
				}
				status, err := exchange(connection, text(n))
				_ = connection.Close()
				if err != nil {
					assert.Fail(s.t, err.Error())
					return
				}
				if !assert.Contains(s.t, statuses, status) {
					return
				}
			}
		})
	}
	group.Wait()
}

// exchange sends what the server reads, which may be less than everything, and
// returns the status of its answer.
func exchange(connection net.Conn, text string) (int, error) {
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	go func() { _, _ = io.WriteString(connection, text) }()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

// Each of them many times, while a guest is served at every first attempt.
func TestHostileRequestsAreRefusedForLittle(t *testing.T) {
	s := start(t)
	bearer := "Authorization: Bearer " + s.adminToken()
	long := func(text string, bytes int) string { return strings.Repeat(text, bytes/len(text)) }
	const most = 64 << 10
	token := func(media, body string) string { return message(http.MethodPost, oauth.PathToken, media, body) }
	apps := func(query, body string) string {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		return message(method, oauth.PathConnectedApps+query, jsonObject, body, bearer)
	}
	for name, test := range map[string]struct {
		text     string
		statuses []int
	}{
		"JSON that nests":                       {token(jsonObject, `{"scope":`+long("[", most-100)), []int{400}},
		"objects that nest":                     {token(jsonObject, long(`{"a":`, most-100)), []int{400}},
		"a huge number":                         {token(jsonObject, `{"expires_in":`+long("9", most-100)+`}`), []int{400}},
		"a huge exponent":                       {token(jsonObject, `{"expires_in":1e`+long("9", 1000)+`}`), []int{400}},
		"a member twice":                        {token(jsonObject, `{"client_id":"a","client_id":"b"}`), []int{400}},
		"members without end":                   {token(jsonObject, `{"":0`+long(`,"":0`, most-100)+`}`), []int{400}},
		"escapes without end":                   {token(jsonObject, `{"client_id":"`+long(`\u0061`, most-100)+`"}`), []int{400, 401}},
		"JSON that is no JSON":                  {token(jsonObject, long("\x00", most)), []int{400}},
		"more than a form may be":               {token(form, long("a", most+1)), []int{413}},
		"parameters without end":                {token(form, long("a&", most)), []int{400}},
		"separators without end":                {token(form, long("&", most)), []int{400}},
		"escapes in a form":                     {token(form, "client_id="+long("%25", most-100)), []int{400, 401}},
		"a scope of words without end":          {token(form, "grant_type=client_credentials&client_id="+adminID+"&client_secret="+adminSecret+"&scope="+long("a+", most-200)), []int{400}},
		"a GiB that is announced":               {"POST " + oauth.PathToken + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + form + "\r\nContent-Length: 1073741824\r\n\r\nx", []int{413}},
		"a length beyond any number":            {"POST " + oauth.PathToken + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + form + "\r\nContent-Length: 99999999999999999999\r\n\r\nx", []int{400}},
		"a compressed body":                     {message(http.MethodPost, oauth.PathToken, form, "x", "Content-Encoding: gzip"), []int{415}},
		"a path that is no page":                {message(http.MethodGet, "/"+long("a/", 1<<10), form, ""), []int{404}},
		"a path of 30 KiB":                      {message(http.MethodGet, "/"+long("a/", 30<<10), form, ""), []int{414}},
		"a path without end":                    {message(http.MethodGet, "/"+long("a", 64<<10), form, ""), []int{431}},
		"dots in a path":                        {message(http.MethodGet, "/"+long("../", 30<<10), form, ""), []int{414}},
		"headers without end":                   {message(http.MethodGet, "/", form, "", slices.Repeat([]string{"X: y"}, 10<<10)...), []int{431}},
		"cookies without end":                   {message(http.MethodGet, "/accounts/sign-in", form, "", "Cookie: "+long("a=b; ", 30<<10)), []int{200, 303, 400}},
		"credentials of 30 KiB":                 {message(http.MethodPost, oauth.PathToken, form, "grant_type=client_credentials", "Authorization: Basic "+long("YTph", 30<<10)), []int{401}},
		"a bearer token of 30 KiB":              {message(http.MethodGet, oauth.PathUserInfo, form, "", "Authorization: Bearer "+long("a.b.", 30<<10)), []int{401}},
		"languages without end":                 {message(http.MethodGet, "/accounts/sign-in", form, "", "Accept-Language: "+long("a-b-c,", 30<<10)), []int{200}},
		"an authorization request of 30 KiB":    {message(http.MethodGet, oauth.PathAuthorize+"?client_id="+adminID+"&state="+long("a", 30<<10), form, ""), []int{400}},
		"a posted authorization request":        {message(http.MethodPost, oauth.PathAuthorize, form, "client_id="+adminID+"&state="+long("a", most-1000)), []int{303, 400, 403, 413}},
		"an address to go on to":                {message(http.MethodGet, "/accounts/sign-in?continue="+long("%2F", 30<<10), form, ""), []int{200, 400}},
		"a code verifier of 60 KiB":             {token(form, "grant_type=authorization_code&client_id="+adminID+"&client_secret="+adminSecret+"&code=x&code_verifier="+long("a", 60<<10)), []int{400}},
		"a management body without a token":     {message(http.MethodPost, oauth.PathConnectedApps, jsonObject, long(" ", 2<<20)), []int{401}},
		"a management body of 2 MiB":            {apps("", long(" ", 2<<20)), []int{413}},
		"an app that nests":                     {apps("", `{"scopes":`+long("[", 1<<20-100)), []int{400}},
		"an app of a million members":           {apps("", `{"a":0`+long(`,"a":0`, 1<<20-100)+`}`), []int{400}},
		"a page of everything":                  {apps("?limit=1000000000", ""), []int{400}},
		"a page far away":                       {apps("?offset=9223372036854775807", ""), []int{200, 400}},
		"a search for many":                     {apps("?search="+long("%25", 20<<10), ""), []int{200, 400, 414}},
		"an organization of a name of 30 KiB":   {message(http.MethodGet, oauth.PathOrganizations+"/"+long("a", 25<<10), form, "", bearer), []int{414}},
		"a method of 1 KiB":                     {message(long("A", 1<<10), oauth.PathToken, form, ""), []int{405}},
		"HTTP/2 without an upgrade":             {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{400, 404, 405, 505}},
		"chunks of one byte":                    {"POST " + oauth.PathToken + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + form + "\r\nTransfer-Encoding: chunked\r\n\r\n" + long("1\r\na\r\n", 6*(most+1)) + "0\r\n\r\n", []int{400, 413}},
		"a length and chunks at the same time":  {"POST " + oauth.PathToken + " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400, 415}},
		"ranges without end":                    {message(http.MethodGet, oauth.PathDiscovery, form, "", "Range: bytes="+long("0-,", 30<<10)), []int{200}},
		"a password of 60 KiB":                  {message(http.MethodPost, "/accounts/login", jsonObject, `{"username":"a","password":"`+long("b", 60<<10)+`"}`), []int{401, 429, 503}},
		"a name that is normalized for long":    {message(http.MethodPost, "/accounts/login", jsonObject, `{"username":"`+long("\u0345\u0301", 60<<10)+`","password":"b"}`), []int{401, 429, 503}},
		"a token to introspect of 60 KiB":       {aboutToken(oauth.PathIntrospect, long("a.", 60<<10)), []int{200}},
		"a token to revoke that is none at all": {aboutToken(oauth.PathRevoke, long("\x01", 60<<10)), []int{200, 400}},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.during(s.token(), func(ctx context.Context) {
				times := 24
				if strings.Contains(test.text, "/accounts/login") {
					times = 2 // each is a password check
				}
				s.send(ctx, times, func(int) string { return test.text }, test.statuses...)
			})
		})
	}
	require.Less(t, longestLine(s.process.Output()), 8<<10, "bytes of a line of the log")
}

// aboutToken asks an endpoint about a token.
func aboutToken(path, value string) string {
	return message(http.MethodPost, path, form, "client_id="+adminID+"&client_secret="+adminSecret+"&token="+value)
}

func longestLine(text string) (longest int) {
	for line := range strings.Lines(text) {
		longest = max(longest, len(line))
	}
	return longest
}

// Whoever sends assertions that are worth nothing makes nobody ask for keys, and
// nothing of them is kept.
func TestJunkAssertionsAreRefusedForLittle(t *testing.T) {
	const workload = "system:serviceaccount:default:robot"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	encodeBytes := base64.RawURLEncoding.EncodeToString
	keys := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"known","x":"%s","y":"%s"}]}`, encodeBytes(point[1:33]), encodeBytes(point[33:]))
	var asked atomic.Int64
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if strings.HasSuffix(r.URL.Path, "/jwks") {
			_, _ = io.WriteString(w, keys)
			return
		}
		_, _ = fmt.Fprintf(w, `{"issuer":"https://cluster.example.com","jwks_uri":"https://%s/openid/v1/jwks"}`, r.Host)
	}))
	defer issuer.Close()
	authority := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}), 0o600))
	s := start(t,
		`apps: [{clientID: robot, clientName: Robot, grantTypes: [client_credentials], federatedIdentities: [{issuerName: cluster, subject: "`+workload+`"}]}]`,
		`workloadIssuers: [{name: cluster, issuer: "https://cluster.example.com", discovery: {url: "`+issuer.URL+`", caFile: `+authority+`}}]`)
	audience := "http://" + s.public + oauth.IssuerPath
	encode := func(text string) string { return encodeBytes([]byte(text)) }
	jwt := func(header, claims string) string {
		return encode(header) + "." + encode(claims) + "." + encodeBytes(bytes.Repeat([]byte{1}, 64))
	}
	claims := func(n int) string {
		return fmt.Sprintf(`{"iss":"https://cluster.example.com","sub":"%s","aud":"%s","iat":%d,"exp":%d,"jti":"%d"}`,
			workload, audience, time.Now().Unix(), time.Now().Add(time.Minute).Unix(), n)
	}
	own := func(n int) string {
		return fmt.Sprintf(`{"iss":"robot","sub":"robot","aud":"%s","iat":%d,"exp":%d,"jti":"%d"}`, audience, time.Now().Unix(), time.Now().Add(time.Minute).Unix(), n)
	}
	for name, assertion := range map[string]func(n int) string{
		"unsigned":                    func(n int) string { return encode(`{"alg":"none"}`) + "." + encode(claims(n)) + "." },
		"of a key nobody has":         func(n int) string { return jwt(fmt.Sprintf(`{"alg":"ES256","kid":"key %d"}`, n), claims(n)) },
		"of a key it has":             func(n int) string { return jwt(`{"alg":"ES256","kid":"known"}`, claims(n)) },
		"of the app, by another key":  func(n int) string { return jwt(`{"alg":"ES256"}`, own(n)) },
		"by a secret":                 func(n int) string { return jwt(`{"alg":"HS256"}`, own(n)) },
		"with RSA of no known length": func(n int) string { return jwt(`{"alg":"RS512","kid":"x"}`, claims(n)) },
		"with claims without end":     func(int) string { return jwt(`{"alg":"ES256"}`, `{"a":0`+strings.Repeat(`,"a":0`, 2000)+`}`) },
		"that nest":                   func(int) string { return jwt(`{"alg":"ES256"}`, strings.Repeat(`{"a":`, 2000)) },
		"of 40 KiB":                   func(n int) string { return jwt(`{"alg":"ES256"}`, claims(n)+strings.Repeat(" ", 30<<10)) },
		"that are dots":               func(int) string { return strings.Repeat(".", 60<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.during(s.token(), func(ctx context.Context) {
				s.send(ctx, 32, func(n int) string {
					return message(http.MethodPost, oauth.PathToken, form, "grant_type=client_credentials&client_id=robot"+
						"&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion="+assertion(n))
				}, http.StatusBadRequest, http.StatusUnauthorized)
				s.send(ctx, 32, func(n int) string {
					return message(http.MethodPost, oauth.PathToken, form, "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion="+assertion(n))
				}, http.StatusBadRequest, http.StatusUnauthorized)
			})
		})
	}
	// At the start, when its keys are old, and for keys that nobody has: two requests
	// in ten seconds, in less than a minute.
	require.Less(t, asked.Load(), int64(20), "how often the issuer was asked")
}
