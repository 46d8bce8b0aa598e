// SPDX-License-Identifier: Apache-2.0

package registrar_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

const canary = "cas_Canary0123456789Canary0123456789Canary01234"

// double answers the log-in like a server, and everything else as told.
func double(t *testing.T, answer http.HandlerFunc) *registrar.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc(oauth.PathToken, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"the-access-token","token_type":"bearer","expires_in":3600}`)
	})
	mux.HandleFunc("/", answer)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return doubleClient(t, server.URL, nil)
}

func doubleClient(t *testing.T, address string, ca []byte) *registrar.Client {
	t.Helper()
	client, err := registrar.New(registrar.Config{
		URL: address, OrganizationID: "org", ClientID: "admin", ClientSecret: canary, CABundle: ca, Timeout: 2 * time.Second, RequestsPerSecond: 10000,
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func TestEveryFaultHasAReasonAndNoSecret(t *testing.T) {
	jsonType, html := "application/json", "text/html"
	for name, test := range map[string]struct {
		status            int
		contentType, body string
		header            http.Header
		reason            registrar.Reason
		text              string
		retryAfter        time.Duration
	}{
		"a page instead of an app":              {200, html, "<html>Welcome " + canary + "</html>", nil, registrar.ReasonInvalidAnswer, "no JSON but text/html", 0},
		"half an app":                           {200, jsonType, `{"client_id":"a","client_secret":"` + canary, nil, registrar.ReasonInvalidAnswer, "JSON that is cut off or of another shape", 0},
		"an app of another shape":               {200, jsonType, `{"client_id":5}`, nil, registrar.ReasonInvalidAnswer, "JSON that is cut off or of another shape", 0},
		"an empty object":                       {200, jsonType, `{}`, nil, registrar.ReasonInvalidAnswer, "an app without client_id", 0},
		"another app":                           {200, jsonType, `{"client_id":"b"}`, nil, registrar.ReasonInvalidAnswer, "another app than the one asked for", 0},
		"an answer without end":                 {200, jsonType, `{"client_id":"a"` + strings.Repeat(" ", 3<<20) + `}`, nil, registrar.ReasonInvalidAnswer, "more than 2 MiB", 0},
		"a redirect":                            {302, html, "", http.Header{"Location": {"/elsewhere?secret=" + canary}}, registrar.ReasonInvalidAnswer, "a redirect, which is not followed", 0},
		"a proxy's page for what is not there":  {404, html, "<html>404</html>", nil, registrar.ReasonInvalidAnswer, "no JSON but text/html", 0},
		"no such app":                           {404, jsonType, `{"status":404,"message":"no such app"}`, nil, registrar.ReasonNotFound, "404: no such app", 0},
		"a taken id":                            {409, jsonType, `{"status":409,"message":"taken"}`, nil, registrar.ReasonConflict, "taken", 0},
		"a wrong field":                         {400, jsonType, `{"status":400,"message":"client_name: must not be blank"}`, nil, registrar.ReasonInvalid, "client_name: must not be blank", 0},
		"a message that repeats our secret":     {400, jsonType, `{"status":400,"message":"bad secret ` + canary + `"}`, nil, registrar.ReasonInvalid, "bad secret [redacted]", 0},
		"a message that repeats our token":      {400, jsonType, `{"status":400,"message":"bad the-access-token"}`, nil, registrar.ReasonInvalid, "bad [redacted]", 0},
		"a message with somebody else's secret": {400, jsonType, `{"status":400,"message":"client_secret=hunter22hunter22 is bad"}`, nil, registrar.ReasonInvalid, "client_[redacted] is bad", 0},
		"a message with a web token":            {400, jsonType, `{"status":400,"message":"got eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}`, nil, registrar.ReasonInvalid, "got [redacted]", 0},
		"a message of many lines":               {400, jsonType, `{"status":400,"message":"a\nb\u0000c"}`, nil, registrar.ReasonInvalid, "a b c", 0},
		"a message with a query":                {400, jsonType, `{"status":400,"message":"see https://a.example/x?code=1234 now"}`, nil, registrar.ReasonInvalid, "see https://a.example/x now", 0},
		"an error as RFC 6749 words it":         {400, jsonType, `{"error":"invalid_request","error_description":"why"}`, nil, registrar.ReasonInvalid, "invalid_request: why", 0},
		"a missing permission":                  {401, jsonType, `{}`, http.Header{"Www-Authenticate": {`Bearer error="insufficient_scope"`}}, registrar.ReasonUnauthorized, "401", 0},
		"a missing permission, unexplained":     {401, jsonType, `{}`, nil, registrar.ReasonUnauthorized, "401", 0},
		"a token that is never accepted":        {401, jsonType, `{}`, http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}, registrar.ReasonCredentialsRefused, "401", 0},
		"forbidden":                             {403, jsonType, `{}`, nil, registrar.ReasonUnauthorized, "403", 0},
		"a failure":                             {500, jsonType, `{"status":500,"message":"internal error"}`, nil, registrar.ReasonServerError, "500: internal error", 0},
		"a gateway's page":                      {502, html, "<html>Bad Gateway</html>", nil, registrar.ReasonServerError, "502", 0},
		"maintenance":                           {503, jsonType, `{}`, http.Header{"Retry-After": {"7"}}, registrar.ReasonServerError, "503", 7 * time.Second},
		"too many requests":                     {429, jsonType, `{}`, http.Header{"Retry-After": {"99999999999999"}}, registrar.ReasonRateLimited, "429", 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			client := double(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					t.Error("the redirect was followed")
				}
				for key, values := range test.header {
					w.Header()[key] = values
				}
				w.Header().Set("Content-Type", test.contentType)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			_, err := client.Read(t.Context(), "a")
			require.Equal(t, test.reason, registrar.ReasonOf(err), "%v", err)
			require.ErrorContains(t, err, test.text)
			require.Equal(t, test.retryAfter, registrar.RetryAfter(err))
			for _, secret := range []string{canary, "the-access-token", "hunter22", "eyJ", "code=1234"} {
				require.NotContains(t, err.Error(), secret)
			}
			require.Less(t, len(err.Error()), 600)
		})
	}
}

func TestALongMessageIsCut(t *testing.T) {
	client := double(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"status":400,"message":%q}`, strings.Repeat("word ", 1000))
	})
	_, err := client.Read(t.Context(), "a")
	require.Less(t, len(err.Error()), 500)
}

func TestAListWithoutDataIsNoEmptyList(t *testing.T) {
	for _, body := range []string{`{}`, `{"data":null,"total":0}`, `{"scopes":[]}`} {
		client := double(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		})
		_, err := client.List(t.Context(), 0, 10)
		require.Equal(t, registrar.ReasonInvalidAnswer, registrar.ReasonOf(err), body)
		_, err = client.Scopes(t.Context(), "a")
		require.Equal(t, registrar.ReasonInvalidAnswer, registrar.ReasonOf(err), body)
		_, err = client.Secrets(t.Context(), "a")
		require.Equal(t, registrar.ReasonInvalidAnswer, registrar.ReasonOf(err), body)
	}
}

func TestAServerThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(nil)
	address := server.URL
	server.Close()
	client := doubleClient(t, address, nil)
	_, first := client.Read(t.Context(), "a")
	require.Equal(t, registrar.ReasonUnreachable, registrar.ReasonOf(first))
	_, second := client.Read(t.Context(), "a")
	require.EqualError(t, second, first.Error(), "the same trouble has the same words, so that it is reported once")
}

func TestAServerThatDoesNotAnswer(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	client, err := registrar.New(registrar.Config{URL: server.URL, ClientID: "a", ClientSecret: canary, Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	_, err = client.Discover(t.Context())
	require.Equal(t, registrar.ReasonTimeout, registrar.ReasonOf(err))
}

func TestCertificatesAreCheckedAgainstTheBundle(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"issuer":"https://%s%s","token_endpoint":"https://%s/token"}`, r.Host, oauth.IssuerPath, r.Host)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	_, err := doubleClient(t, server.URL, nil).Discover(t.Context())
	require.Equal(t, registrar.ReasonTLSFailed, registrar.ReasonOf(err), "%v", err)

	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	_, err = doubleClient(t, server.URL, bundle).Discover(t.Context())
	require.NoError(t, err)

	plain := httptest.NewServer(nil)
	defer plain.Close()
	_, err = doubleClient(t, strings.Replace(plain.URL, "http://", "https://", 1), nil).Discover(t.Context())
	require.Equal(t, registrar.ReasonTLSFailed, registrar.ReasonOf(err), "a server that does not speak TLS: %v", err)

	_, err = registrar.New(registrar.Config{URL: server.URL, CABundle: []byte("no PEM")})
	require.EqualError(t, err, "the CA bundle holds no PEM certificate")
}

func TestAConfigurationThatCannotWork(t *testing.T) {
	for _, address := range []string{"", "id.example.com", "ftp://id.example.com", "https://u:" + canary + "@id.example.com", "https://id.example.com/", "https://id.example.com?a"} {
		_, err := registrar.New(registrar.Config{URL: address})
		require.Error(t, err, address)
		require.NotContains(t, err.Error(), canary)
	}
}

func TestDiscoveryRefusesAddressesThatCannotBeHandedOn(t *testing.T) {
	for name, endpoint := range map[string]string{
		"relative":        "/token",
		"another scheme":  "javascript:alert(1)",
		"with a password": "https://u:p@id.example.com/",
		"endless":         "https://id.example.com/" + strings.Repeat("x", 3000),
	} {
		t.Run(name, func(t *testing.T) {
			client := double(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = fmt.Fprintf(w, `{"issuer":"http://%s%s","token_endpoint":"http://%s/","jwks_uri":%q}`, r.Host, oauth.IssuerPath, r.Host, endpoint)
			})
			_, err := client.Discover(t.Context())
			require.Equal(t, registrar.ReasonInvalidAnswer, registrar.ReasonOf(err))
			require.ErrorContains(t, err, "jwks_uri is not an http or https URL")
		})
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(200, `{"client_id":"a","scopes":[],"created_at":"2026-01-01T00:00:00Z"}`, true)
	f.Add(200, `{"data":[{"client_id":"a"}],"total":1}`, true)
	f.Add(200, `{"data":[{"id":"a","client_secret":"b"}],"total":1}`, true)
	f.Add(400, `{"status":400,"message":"client_secret: `+canary+`"}`, true)
	f.Add(503, `<html>`, false)
	var status int
	var body string
	var isJSON bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == oauth.PathToken {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token":"the-access-token","expires_in":3600}`)
			return
		}
		w.Header().Set("Content-Type", map[bool]string{true: "application/json", false: "text/html"}[isJSON])
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	f.Cleanup(server.Close)
	client, err := registrar.New(registrar.Config{URL: server.URL, OrganizationID: "o", ClientID: "a", ClientSecret: canary, RequestsPerSecond: 1e6})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, s int, b string, j bool) {
		if s < 200 || s > 599 {
			t.Skip("no final status")
		}
		status, body, isJSON = s, b, j
		app, err := client.Read(t.Context(), "a")
		checkAnswer(t, err, err == nil && app.ClientID == "a")
		page, err := client.List(t.Context(), 0, 10)
		checkAnswer(t, err, err == nil && page.Apps != nil)
		_, err = client.Discover(t.Context())
		checkAnswer(t, err, err == nil)
	})
}

// checkAnswer holds for every answer: what is asked for, or an error of the
// list without a secret.
func checkAnswer(t *testing.T, err error, ok bool) {
	t.Helper()
	if err == nil {
		require.True(t, ok)
		return
	}
	require.NotEmpty(t, registrar.ReasonOf(err), "%v", err)
	require.NotContains(t, err.Error(), canary)
	require.NotContains(t, err.Error(), "\n")
	require.Less(t, len(err.Error()), 700)
}
