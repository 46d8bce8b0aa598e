// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

const canary = "cas_Canary0123456789Canary0123456789Canary01234"

// seen is a token request as a server sees it.
type seen struct {
	header     http.Header
	parameters map[string]string
	basicUser  string
	basicPass  string
	basic      bool
}

func parse(t *testing.T, r *http.Request) seen {
	t.Helper()
	s := seen{header: r.Header.Clone(), parameters: map[string]string{}}
	s.basicUser, s.basicPass, s.basic = r.BasicAuth()
	if r.Header.Get("Content-Type") == "application/json" {
		if err := json.NewDecoder(r.Body).Decode(&s.parameters); err != nil {
			t.Error(err)
		}
		return s
	}
	if err := r.ParseForm(); err != nil {
		t.Error(err)
	}
	for name := range r.PostForm {
		s.parameters[name] = r.PostForm.Get(name)
	}
	return s
}

// tokenEndpoint answers every request with a token and keeps the last request.
func tokenEndpoint(t *testing.T) (url string, last *seen) {
	t.Helper()
	last = &seen{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*last = parse(t, r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"the-token","token_type":"bearer","expires_in":3600}`)
	}))
	t.Cleanup(s.Close)
	return s.URL, last
}

func staticCredentials(c Credentials) CredentialsReader {
	return func(context.Context) (*Credentials, error) { return &c, nil }
}

func TestEndpointSourceRequest(t *testing.T) {
	url, last := tokenEndpoint(t)
	base := map[string]string{"grant_type": "client_credentials", "scope": "profile"}
	post := maps.Clone(base)
	post["client_id"], post["client_secret"] = "id&1", "p@ss +%"
	for name, test := range map[string]struct {
		method      string
		encoding    Encoding
		contentType string
		parameters  map[string]string
		basic       bool
	}{
		"body, form":  {oauth.AuthMethodSecretPost, EncodingForm, "application/x-www-form-urlencoded", post, false},
		"body, JSON":  {oauth.AuthMethodSecretPost, EncodingJSON, "application/json", post, false},
		"Basic, form": {oauth.AuthMethodSecretBasic, "", "application/x-www-form-urlencoded", base, true},
		"no method":   {"", "", "application/x-www-form-urlencoded", post, false},
		"Basic, JSON": {oauth.AuthMethodSecretBasic, EncodingJSON, "application/json", base, true},
	} {
		t.Run(name, func(t *testing.T) {
			source := &EndpointSource{
				Credentials: staticCredentials(Credentials{ClientID: "id&1", ClientSecret: "p@ss +%", TokenURL: url, AuthMethod: test.method}),
				Scope:       "profile",
				Encoding:    test.encoding,
			}
			token, err := source.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, "the-token", token.AccessToken)
			require.Equal(t, "profile", token.Scope, "the asked scope when the server names none")
			require.WithinDuration(t, time.Now().Add(time.Hour), token.ExpiresAt, 10*time.Second)

			require.Equal(t, test.contentType, last.header.Get("Content-Type"))
			require.Equal(t, test.parameters, last.parameters)
			require.Equal(t, test.basic, last.basic)
			if test.basic {
				require.Equal(t, "id%261", last.basicUser, "form-encoded as RFC 6749 section 2.3.1 asks")
				require.Equal(t, "p%40ss+%2B%25", last.basicPass)
			}
		})
	}
}

func TestEndpointSourceTakesUpRotatedCredentials(t *testing.T) {
	url, last := tokenEndpoint(t)
	dir := t.TempDir()
	write := func(secret string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "client-id"), []byte("app"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "client-secret"), []byte(secret), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "token-url"), []byte(url), 0o600))
	}
	source := &EndpointSource{Credentials: (&Directory{Path: dir}).Credentials}
	for _, secret := range []string{"first", "second"} {
		write(secret)
		_, err := source.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, secret, last.parameters["client_secret"])
	}
}

func TestEndpointSourceTrustsCABundleAlone(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"the-token","token_type":"Bearer","expires_in":60}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports the refused handshake
	s.StartTLS()
	defer s.Close()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	credentials := Credentials{ClientID: "a", ClientSecret: canary, TokenURL: s.URL, CABundle: bundle}
	token, err := (&EndpointSource{Credentials: staticCredentials(credentials)}).Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Bearer", token.TokenType)

	credentials.CABundle = nil
	_, err = (&EndpointSource{Credentials: staticCredentials(credentials)}).Token(t.Context())
	require.Equal(t, ReasonCertificateInvalid, ReasonOf(err))

	credentials.CABundle = []byte("no PEM")
	_, err = (&EndpointSource{Credentials: staticCredentials(credentials)}).Token(t.Context())
	require.EqualError(t, err, "ca.crt holds no PEM certificate")
	require.Equal(t, ReasonCredentialsInvalid, ReasonOf(err))
}

func TestEndpointSourceSortsAnswers(t *testing.T) {
	type answer struct {
		status     int
		header     http.Header
		body       string
		reason     Reason
		code       string
		text       string
		retryAfter time.Duration
	}
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	for name, test := range map[string]answer{
		"wrong credentials": {
			status: 401, body: `{"error":"invalid_client","error_description":"unknown client or wrong secret"}`,
			reason: ReasonRequestRefused, code: "invalid_client", text: "answered 401 invalid_client: unknown client or wrong secret",
		},
		"a scope the app does not have": {
			status: 400, body: `{"error":"invalid_scope"}`,
			reason: ReasonRequestRefused, code: "invalid_scope", text: "answered 400 invalid_scope",
		},
		"a description that repeats the secret is dropped": {
			status: 401, body: `{"error":"invalid_client","error_description":"no such secret ` + canary + `"}`,
			reason: ReasonRequestRefused, code: "invalid_client", text: "answered 401 invalid_client",
		},
		"an error code that is a text is dropped": {
			status: 400, body: `{"error":"Something ` + canary + `"}`,
			reason: ReasonRequestRefused, text: "answered 400",
		},
		"too many requests": {
			status: 429, header: header("Retry-After", "7"), body: `{"error":"temporarily_unavailable"}`,
			reason: ReasonServerUnavailable, code: "temporarily_unavailable", text: "answered 429", retryAfter: 7 * time.Second,
		},
		"a failing server": {
			status: 500, body: `{"error":"server_error"}`,
			reason: ReasonServerUnavailable, code: "server_error", text: "answered 500 server_error",
		},
		"a proxy's page": {
			status: 502, header: header("Content-Type", "text/html"), body: "<html>Bad Gateway</html>",
			reason: ReasonServerUnavailable, text: "answered 502",
		},
		"an overlong Retry-After is bounded": {
			status: 503, header: header("Retry-After", "99999999999"), reason: ReasonServerUnavailable, text: "answered 503", retryAfter: maxRetryAfter,
		},
		"a negative Retry-After is none": {
			status: 503, header: header("Retry-After", "-5"), reason: ReasonServerUnavailable, text: "answered 503",
		},
		"a redirect is not followed": {
			status: 307, header: header("Location", "/elsewhere"), reason: ReasonResponseInvalid, text: "a redirect; credentials are not sent elsewhere",
		},
		"a page instead of a token": {
			status: 200, header: header("Content-Type", "text/html"), body: "<html>Sign in</html>",
			reason: ReasonResponseInvalid, text: `no token document, content type "text/html"`,
		},
		"a refusal that says it went well": {
			status: 200, body: `{"error":"invalid_client","error_description":"unknown client"}`,
			reason: ReasonRequestRefused, code: "invalid_client", text: "answered 200 invalid_client: unknown client",
		},
		"a refusal beside a token": {
			status: 200, body: `{"access_token":"the-token","expires_in":60,"error":"invalid_scope"}`,
			reason: ReasonRequestRefused, code: "invalid_scope", text: "answered 200 invalid_scope",
		},
		"a refusal in words that says it went well": {
			status: 200, body: `{"error":"Bad verification of ` + canary + `"}`, reason: ReasonRequestRefused, text: "answered 200 with an error in place of a token",
		},
		"trouble that says it went well": {
			status: 200, header: header("Retry-After", "3"), body: `{"error":"temporarily_unavailable"}`,
			reason: ReasonServerUnavailable, code: "temporarily_unavailable", text: "answered 200 temporarily_unavailable", retryAfter: 3 * time.Second,
		},
		"a description that is no text": {
			status: 400, body: `{"error":"invalid_grant","error_description":{"code":5}}`,
			reason: ReasonRequestRefused, code: "invalid_grant", text: "answered 400 invalid_grant",
		},
		"no content": {status: 204, reason: ReasonResponseInvalid, text: `answered 204 with no token document, content type ""`},
		"a form": {
			status: 200, header: header("Content-Type", "application/x-www-form-urlencoded"), body: "access_token=the-token&expires_in=60",
			reason: ReasonResponseInvalid, text: `no token document, content type "application/x-www-form-urlencoded"`,
		},
		"half a document":            {status: 200, body: `{"access_token":"the-tok`, reason: ReasonResponseInvalid, text: "no token document"},
		"a number as token":          {status: 200, body: `{"access_token":5,"expires_in":60}`, reason: ReasonResponseInvalid, text: "no token document"},
		"an empty object":            {status: 200, body: `{}`, reason: ReasonResponseInvalid, text: "no expires_in, so nobody knows when the token expires"},
		"no token":                   {status: 200, body: `{"expires_in":60}`, reason: ReasonResponseInvalid, text: "access token is empty"},
		"a life that has ended":      {status: 200, body: `{"access_token":"the-token","expires_in":-5}`, reason: ReasonResponseInvalid, text: "expires_in -5, so the token has expired already"},
		"a token with a line break":  {status: 200, body: `{"access_token":"a\nb","expires_in":60}`, reason: ReasonResponseInvalid, text: "outside visible ASCII"},
		"a type that is not bearer":  {status: 200, body: `{"access_token":"the-token","token_type":"mac","expires_in":60}`, reason: ReasonResponseInvalid, text: "not bearer"},
		"a body beyond all measure":  {status: 200, body: strings.Repeat(" ", maxResponse+1), reason: ReasonResponseInvalid, text: "more than 256 KiB"},
		"an error page beyond reach": {status: 400, body: strings.Repeat("x", maxResponse+1), reason: ReasonResponseInvalid, text: "more than 256 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere := false
			mux := http.NewServeMux()
			mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), test.header)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere = true })
			s := httptest.NewServer(mux)
			defer s.Close()

			_, err := (&EndpointSource{Credentials: staticCredentials(Credentials{
				ClientID: "a", ClientSecret: canary, TokenURL: s.URL + "/token", AuthMethod: oauth.AuthMethodSecretPost,
			})}).Token(t.Context())
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, test.reason, e.Reason)
			require.Equal(t, test.code, e.Code)
			require.Equal(t, test.status, e.Status)
			require.Equal(t, test.retryAfter, e.RetryAfter)
			require.ErrorContains(t, err, test.text)
			require.NotContains(t, err.Error(), canary)
			require.NotContains(t, err.Error(), "the-tok")
			require.False(t, elsewhere)
		})
	}
}

// Servers write the life of a token in more ways than the RFC has.
func TestEveryWayToWriteALifeIsUnderstoodOrTold(t *testing.T) {
	const nobodyKnows = ", so nobody knows when the token expires"
	for raw, want := range map[string]struct {
		life    time.Duration
		problem string
	}{
		`3600`:                {life: time.Hour},
		`"3600"`:              {life: time.Hour},
		`" 3600 "`:            {life: time.Hour},
		`3599.5`:              {life: time.Hour - 500*time.Millisecond},
		`"3599.5"`:            {life: time.Hour - 500*time.Millisecond},
		`3.6e3`:               {life: time.Hour},
		`9223372036854775807`: {life: maxLife},
		`1e300`:               {life: maxLife},
		`1e999`:               {life: maxLife},
		`"1e999"`:             {life: maxLife},
		``:                    {problem: "no expires_in" + nobodyKnows},
		`null`:                {problem: "no expires_in" + nobodyKnows},
		`0`:                   {problem: "expires_in 0, so the token has expired already"},
		`"0"`:                 {problem: "expires_in 0, so the token has expired already"},
		`-3600`:               {problem: "expires_in -3600, so the token has expired already"},
		`"NaN"`:               {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`"Inf"`:               {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`"-1e999"`:            {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`""`:                  {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`"an hour"`:           {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`true`:                {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`[3600]`:              {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`{"seconds":3600}`:    {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`"2026-11-26T12:00Z"`: {problem: "an expires_in that is no number of seconds" + nobodyKnows},
		`"` + canary + `"`:    {problem: "an expires_in that is no number of seconds" + nobodyKnows},
	} {
		t.Run(raw, func(t *testing.T) {
			body := `{"access_token":"the-token"}`
			if raw != "" {
				body = `{"access_token":"the-token","expires_in":` + raw + `}`
			}
			token, err := answered(http.StatusOK, "application/json", body)
			if want.problem != "" {
				require.EqualError(t, err, "token endpoint at id.example.com answered 200 with "+want.problem)
				require.Equal(t, ReasonResponseInvalid, ReasonOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, want.life, token.ExpiresAt.Sub(token.IssuedAt))
		})
	}
}

// A token document is one whatever the server calls it.
func TestATokenDocumentUnderAnotherNameIsTaken(t *testing.T) {
	for status, contentType := range map[int]string{200: "text/html", 201: "application/json", 203: "application/json", 299: ""} {
		token, err := answered(status, contentType, `{"access_token":"the-token","expires_in":60}`)
		require.NoError(t, err)
		require.Equal(t, "the-token", token.AccessToken)
	}
}

// answered is what is made of an answer.
func answered(status int, contentType, body string) (*Token, error) {
	return readToken(&http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {contentType}},
		Body:       io.NopCloser(strings.NewReader(body)),
		Request:    &http.Request{URL: &url.URL{Host: "id.example.com"}},
	}, time.Now(), "", nil, canary)
}

// A text of the server's is cut after it was searched for the secret.
func TestNoPartOfASecretIsRepeated(t *testing.T) {
	_, err := answered(401, "application/json", `{"error":"invalid_client","error_description":"`+strings.Repeat("x", 295)+canary+`"}`)
	require.ErrorContains(t, err, "answered 401 invalid_client")
	require.NotContains(t, err.Error(), canary[:5])
}

func TestEndpointSourceGivesUpOnASilentServer(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	_, err := (&EndpointSource{
		Credentials: staticCredentials(Credentials{ClientID: "a", ClientSecret: canary, TokenURL: s.URL + "/?secret=" + canary}),
		Timeout:     50 * time.Millisecond,
	}).Token(t.Context())
	require.ErrorContains(t, err, "no answer in time")
	require.Equal(t, ReasonServerUnavailable, ReasonOf(err))
	require.NotContains(t, err.Error(), canary)
}

func TestEndpointSourceWithoutAServer(t *testing.T) {
	s := httptest.NewServer(nil)
	url := s.URL
	s.Close()
	_, err := (&EndpointSource{Credentials: staticCredentials(Credentials{ClientID: "a", ClientSecret: "b", TokenURL: url})}).Token(t.Context())
	require.ErrorContains(t, err, "connection refused")
	require.Equal(t, ReasonServerUnavailable, ReasonOf(err))
}

// A condition and an Event are made of these words: they are the same as long as
// the trouble is.
func TestTheSameTroubleHasTheSameWords(t *testing.T) {
	resets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = connection.(*net.TCPConn).SetLinger(0)
		_ = connection.Close()
	}))
	defer resets.Close()
	source := &EndpointSource{Credentials: func(context.Context) (*Credentials, error) {
		return &Credentials{ClientID: "a", ClientSecret: "b", TokenURL: resets.URL, AuthMethod: oauth.AuthMethodSecretPost}, nil
	}}
	var words []string
	for range 3 {
		_, err := source.Token(t.Context())
		require.Equal(t, ReasonServerUnavailable, ReasonOf(err))
		words = append(words, err.Error())
	}
	require.Equal(t, words[0], words[1])
	require.Equal(t, words[0], words[2])

	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"an unknown name": {&net.DNSError{Name: "id.example.com", Server: "10.0.0.1:53", IsNotFound: true}, "looking up id.example.com: no such host"},
		"a silent name server": {
			&net.DNSError{Name: "id.example.com", Err: "read udp 10.1.0.1:40000->10.0.0.1:53: i/o timeout", IsTimeout: true},
			"looking up id.example.com: no answer in time",
		},
		"a name server in trouble": {
			&net.DNSError{Name: "id.example.com", Err: "server misbehaving on 10.1.0.1:40000"},
			"looking up id.example.com: the name server does not answer as it should",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := unavailable("token endpoint", "id.example.com", &url.Error{Op: "Post", URL: "https://id.example.com", Err: fmt.Errorf("dialing: %w", c.err)})
			require.EqualError(t, err, "asking the token endpoint at id.example.com: "+c.want)
		})
	}
}

func TestRetryAfterReadsDates(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	require.InDelta(t, 30, retryAfter(in(30*time.Second)).Seconds(), 2)
	require.Zero(t, retryAfter(in(-time.Minute)))
	require.Equal(t, maxRetryAfter, retryAfter(in(24*time.Hour)))
	require.Zero(t, retryAfter("soon"))
	require.Zero(t, retryAfter(""))
}
