// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// authorizationServer publishes metadata, and takes client_secret_basic alone.
type authorizationServer struct {
	*httptest.Server
	// at is where the metadata are, document what they are.
	at       string
	document map[string]any
	status   int
	// reads is how often they were read.
	reads int
	token func(w http.ResponseWriter, r *http.Request)
}

func newAuthorizationServer(t *testing.T) *authorizationServer {
	t.Helper()
	s := &authorizationServer{at: "/tenant/.well-known/openid-configuration", status: http.StatusOK}
	s.token = func(w http.ResponseWriter, r *http.Request) {
		if id, secret, ok := r.BasicAuth(); !ok || id != "app" || secret != canary {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
			return
		}
		_, _ = io.WriteString(w, `{"access_token":"the-token","expires_in":60}`)
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case s.at:
			s.reads++
			w.WriteHeader(s.status)
			_ = json.NewEncoder(w).Encode(s.document)
		case "/oauth/token":
			s.token(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	s.document = map[string]any{"issuer": s.URL + "/tenant", "token_endpoint": s.URL + "/oauth/token"}
	return s
}

func (s *authorizationServer) source(issuer string) *EndpointSource {
	return &EndpointSource{Credentials: staticCredentials(Credentials{ClientID: "app", ClientSecret: canary, Issuer: issuer})}
}

func TestTheIssuersMetadataNameTheEndpoint(t *testing.T) {
	for name, at := range map[string]string{
		"OpenID Connect Discovery": "/tenant/.well-known/openid-configuration",
		"RFC 8414":                 "/.well-known/oauth-authorization-server/tenant",
	} {
		t.Run(name, func(t *testing.T) {
			s := newAuthorizationServer(t)
			s.at = at
			source := s.source(s.URL + "/tenant")
			for range 3 {
				token, err := source.Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, "the-token", token.AccessToken)
			}
			require.Equal(t, 1, s.reads, "they are kept")

			// The endpoint has moved.
			answer := s.token
			s.token = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
			_, err := source.Token(t.Context())
			require.Equal(t, ReasonRequestRefused, ReasonOf(err))
			s.token = answer
			_, err = source.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, 2, s.reads, "and read again after a failure")
		})
	}
}

func TestHowASecretIsSentIsTheServersChoice(t *testing.T) {
	for name, test := range map[string]struct {
		methods any
		said    string
		basic   bool
	}{
		"both":                        {[]string{"client_secret_basic", "client_secret_post"}, "", false},
		"the header alone":            {[]string{"client_secret_basic", "private_key_jwt"}, "", true},
		"the body alone":              {[]string{"client_secret_post"}, "", false},
		"nothing, so the header":      {nil, "", true},
		"neither":                     {[]string{"private_key_jwt"}, "", false},
		"what the credentials say":    {[]string{"client_secret_post"}, oauth.AuthMethodSecretBasic, true},
		"and also when that is other": {[]string{"client_secret_basic"}, oauth.AuthMethodSecretPost, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAuthorizationServer(t)
			if test.methods != nil {
				s.document["token_endpoint_auth_methods_supported"] = test.methods
			}
			var last seen
			s.token = func(w http.ResponseWriter, r *http.Request) {
				last = parse(t, r)
				_, _ = io.WriteString(w, `{"access_token":"the-token","expires_in":60}`)
			}
			_, err := (&EndpointSource{Credentials: staticCredentials(Credentials{
				ClientID: "app", ClientSecret: canary, Issuer: s.URL + "/tenant", AuthMethod: test.said,
			})}).Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, test.basic, last.basic)
		})
	}
}

func TestMetadataThatAreOfNoUseAreTold(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*authorizationServer)
		issuer string // beside the server's URL
		reason Reason
		want   string
	}{
		"of another issuer": {
			func(s *authorizationServer) { s.document["issuer"] = "https://other.example.com" }, "/tenant", ReasonResponseInvalid,
			`metadata at URL/tenant/.well-known/openid-configuration are of the issuer "https://other.example.com", not "URL/tenant": name the issuer as its server does`,
		},
		"of an issuer that ends otherwise": {
			func(*authorizationServer) {}, "/tenant/", ReasonResponseInvalid,
			`metadata at URL/tenant/.well-known/openid-configuration are of the issuer "URL/tenant", not "URL/tenant/": name the issuer as its server does`,
		},
		"nowhere": {
			func(s *authorizationServer) { s.at = "/elsewhere" }, "/tenant", ReasonResponseInvalid,
			"metadata at URL/tenant/.well-known/openid-configuration cannot be read: the server answered 404",
		},
		"a server in trouble": {
			func(s *authorizationServer) { s.status = 503 }, "/tenant", ReasonServerUnavailable,
			"metadata at URL/tenant/.well-known/openid-configuration cannot be read: the server answered 503",
		},
		"a redirect": {
			func(s *authorizationServer) { s.status = 302 }, "/tenant", ReasonResponseInvalid,
			"metadata at URL/tenant/.well-known/openid-configuration cannot be read: the server answered 302",
		},
		"an endpoint without TLS": {
			func(s *authorizationServer) { s.document["token_endpoint"] = "http://id.example.com/token" }, "/tenant", ReasonResponseInvalid,
			"metadata at URL/tenant/.well-known/openid-configuration are of no use: token_endpoint is http on another host than loopback, where the secret could be read on its way",
		},
		"no endpoint": {
			func(s *authorizationServer) { delete(s.document, "token_endpoint") }, "/tenant", ReasonResponseInvalid,
			"metadata at URL/tenant/.well-known/openid-configuration are of no use: token_endpoint is missing",
		},
		"no document": {
			func(s *authorizationServer) { s.document = map[string]any{"issuer": 5} }, "/tenant", ReasonResponseInvalid,
			"metadata at URL/tenant/.well-known/openid-configuration are no metadata document",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAuthorizationServer(t)
			s.token = func(http.ResponseWriter, *http.Request) { t.Error("a secret was sent") }
			test.change(s)
			_, err := s.source(s.URL + test.issuer).Token(t.Context())
			require.EqualError(t, err, strings.ReplaceAll(test.want, "URL", s.URL))
			require.Equal(t, test.reason, ReasonOf(err))
		})
	}
	t.Run("a server that is away", func(t *testing.T) {
		s := newAuthorizationServer(t)
		s.Close()
		_, err := s.source(s.URL + "/tenant").Token(t.Context())
		require.ErrorContains(t, err, "asking the issuer at ")
		require.Equal(t, ReasonServerUnavailable, ReasonOf(err))
	})
	t.Run("an issuer without TLS", func(t *testing.T) {
		directory := &Directory{ClientID: "app", Issuer: "http://id.example.com", Path: writeFiles(t, map[string]string{"client-secret": canary})}
		_, err := directory.Credentials(t.Context())
		require.EqualError(t, err, "credentials cannot be used: issuer-url is http on another host than loopback, where the secret could be read on its way")
	})
}

// An issuer that is named wins over the addresses of the credentials, and an
// address over it.
func TestWhereTokensAreAskedFor(t *testing.T) {
	s := newAuthorizationServer(t)
	files := map[string]string{"client-id": "app", "client-secret": canary, "auth-method": "client_secret_basic", "token-url": "https://unreachable.invalid/"}
	for name, test := range map[string]struct {
		directory Directory
		more      map[string]string
	}{
		"the issuer before the credentials' address": {Directory{Issuer: s.URL + "/tenant"}, nil},
		"the address before the issuer":              {Directory{Issuer: "https://unreachable.invalid", TokenURL: s.URL + "/oauth/token"}, nil},
		"the credentials' issuer, without an address": {
			Directory{}, map[string]string{"token-url": "", "issuer-url": s.URL + "/tenant"},
		},
		"the credentials' address before their issuer": {
			Directory{}, map[string]string{"token-url": s.URL + "/oauth/token", "issuer-url": "https://unreachable.invalid"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			directory := test.directory
			all := maps.Clone(files)
			maps.Copy(all, test.more)
			directory.Path = writeFiles(t, all)
			_, err := (&EndpointSource{Credentials: directory.Credentials, Timeout: 5 * time.Second}).Token(t.Context())
			require.NoError(t, err)
		})
	}
}
