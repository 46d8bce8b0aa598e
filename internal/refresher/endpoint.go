// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

// Encoding is how the parameters of a token request are written.
type Encoding string

// The encodings. The zero value means form.
const (
	// EncodingForm is application/x-www-form-urlencoded, as RFC 6749 asks.
	EncodingForm Encoding = "form"
	// EncodingJSON is a JSON object, as the vendor's own examples send.
	EncodingJSON Encoding = "json"
)

// EndpointSource asks a token endpoint for a token: by the grant and with the
// proof that the credentials have. Credentials, certificates and connections are
// made anew each time, so that every rotation is taken up; what an issuer's
// metadata say is kept until a request fails. It serves one caller at a time.
type EndpointSource struct {
	// Credentials is asked before every request.
	Credentials CredentialsReader
	// Scope is the space-delimited scope to ask for; empty asks for all the
	// app has.
	Scope string
	// Encoding of the request.
	Encoding Encoding
	// Timeout of one request, from connecting to the last byte; 0 means 15 s.
	Timeout time.Duration
	// Transport makes of the transport one that does more, such as tracing; nil:
	// the transport serves as it is.
	Transport func(http.RoundTripper) http.RoundTripper
	// Logger is told when a token is asked for in another way than before; nil:
	// nobody is.
	Logger *slog.Logger
	// Rotated is given the refresh token that an answer brings, also one without an
	// access token of any use: the one before may be spent. Nil: nobody is.
	Rotated func(refreshToken string)

	// found is where the last token came from when that was discovered.
	found *endpoint
	// way is how the last token was asked for.
	way string
}

var _ Source = (*EndpointSource)(nil)

// Purpose implements Source.
func (s *EndpointSource) Purpose(ctx context.Context) (Purpose, error) {
	c, err := s.Credentials(ctx)
	if err != nil {
		return "", asCredentialsError(err)
	}
	identity := []string{firstOf(c.TokenURL, c.Issuer), c.ClientID, s.Scope}
	var proven []string
	switch c.proof() {
	case proofSecret:
		proven = []string{c.ClientSecret}
	case proofServiceAccount:
		proven = []string{subjectOf(c.ServiceAccountToken)}
	}
	if !c.isClientCredentials() {
		identity = append(identity, c.GrantType, c.Username, c.Subject)
		proven = append(proven, c.Password)
	}
	if c.signs() {
		proven = append(proven, c.PrivateKey, c.KeyID, c.Audience)
	}
	return NewPurpose(identity, proven), nil
}

// Token implements Source.
func (s *EndpointSource) Token(ctx context.Context) (*Token, error) {
	c, err := s.Credentials(ctx)
	if err != nil {
		return nil, asCredentialsError(err)
	}
	client, err := newHTTPClient(c.CABundle, s.Timeout)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	if s.Transport != nil {
		client.Transport = s.Transport(client.Transport)
	}
	token, err := s.ask(ctx, client, c)
	if err != nil {
		s.found = nil
	}
	return token, err
}

func (s *EndpointSource) ask(ctx context.Context, client *http.Client, c *Credentials) (*Token, error) {
	at, err := s.endpoint(ctx, client, c)
	if err != nil {
		return nil, err
	}
	s.tell(c, at)
	asked, err := newParameters(c, at, s.Scope)
	if err != nil {
		return nil, err
	}
	request, err := s.request(ctx, at, asked)
	if err != nil {
		return nil, err
	}
	sent := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return nil, unavailable("token endpoint", request.URL.Host, err)
	}
	defer func() { _ = response.Body.Close() }()
	return readToken(response, sent, s.Scope, s.Rotated, asked.secrets...)
}

// tell logs how a token is asked for, when that is another way than before.
func (s *EndpointSource) tell(c *Credentials, at *endpoint) {
	grant := firstOf(c.GrantType, oauth.GrantClientCredentials)
	way := strings.Join([]string{at.url, grant, string(c.proof())}, " ")
	if s.Logger == nil || way == s.way {
		return
	}
	s.way = way
	s.Logger.Info("asking for tokens", "token_url", at.url, "grant_type", grant, "authenticating_with", string(c.proof()))
}

// endpoint is where tokens are asked for.
type endpoint struct {
	url string
	// issuer is the server's identifier; empty when it is not known.
	issuer string
	// methods are those of token_endpoint_auth_methods_supported; nil when they
	// are not known.
	methods []string
}

func (s *EndpointSource) endpoint(ctx context.Context, client *http.Client, c *Credentials) (*endpoint, error) {
	if c.TokenURL != "" {
		return &endpoint{url: c.TokenURL, issuer: c.Issuer}, nil
	}
	if s.found == nil || s.found.issuer != c.Issuer {
		found, err := discover(ctx, client, c.Issuer)
		if err != nil {
			return nil, err
		}
		s.found = found
	}
	return s.found, nil
}

// authMethod is how a client secret is sent: as the credentials say, else as the
// server takes it, in the body if it says nothing.
func (e *endpoint) authMethod(c *Credentials) string {
	if c.AuthMethod != "" {
		return c.AuthMethod
	}
	if slices.Contains(e.methods, oauth.AuthMethodSecretBasic) && !slices.Contains(e.methods, oauth.AuthMethodSecretPost) {
		return oauth.AuthMethodSecretBasic
	}
	return oauth.AuthMethodSecretPost
}

// parameters are what a token request says.
type parameters struct {
	body map[string]string
	// user and password are those of the header Authorization, encoded; both
	// empty: there is none.
	user, password string
	// secrets are what must not be repeated.
	secrets []string
}

func newParameters(c *Credentials, at *endpoint, scope string) (*parameters, error) {
	p := &parameters{body: map[string]string{"grant_type": firstOf(c.GrantType, oauth.GrantClientCredentials)}}
	if scope != "" {
		p.body["scope"] = scope
	}
	audience := firstOf(c.Audience, at.issuer, at.url)
	if err := p.addGrant(c, audience); err != nil {
		return nil, err
	}
	return p, p.addProof(c, at, audience)
}

// addGrant says what the token is asked for with.
func (p *parameters) addGrant(c *Credentials, audience string) error {
	switch c.GrantType {
	case oauth.GrantPassword:
		p.body["username"] = c.Username
		p.addSecret("password", c.Password)
	case oauth.GrantRefreshToken:
		p.addSecret("refresh_token", c.RefreshToken)
	case oauth.GrantJWTBearer:
		assertion, err := c.sign(c.Subject, audience, time.Now())
		if err != nil {
			return err
		}
		p.addSecret("assertion", assertion)
	}
	return nil
}

// addProof says who asks.
func (p *parameters) addProof(c *Credentials, at *endpoint, audience string) error {
	with := c.proof()
	if with == proofSecret && at.authMethod(c) == oauth.AuthMethodSecretBasic {
		// RFC 6749 section 2.3.1: both are form-encoded first.
		p.user, p.password = url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret)
		p.keep(c.ClientSecret)
		p.secrets = append(p.secrets, base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.password)))
		return nil
	}
	p.body["client_id"] = c.ClientID
	switch with {
	case proofSecret:
		p.addSecret("client_secret", c.ClientSecret)
	case proofServiceAccount:
		p.addAssertion(c.ServiceAccountToken)
	case proofPrivateKey:
		assertion, err := c.sign(c.ClientID, audience, time.Now())
		if err != nil {
			return err
		}
		p.addAssertion(assertion)
	}
	return nil
}

func (p *parameters) addAssertion(assertion string) {
	p.body["client_assertion_type"] = oauth.AssertionTypeJWTBearer
	p.addSecret("client_assertion", assertion)
}

func (p *parameters) addSecret(name, value string) {
	p.body[name] = value
	p.keep(value)
}

// keep has a secret not repeated, neither as it is nor as a form has it.
func (p *parameters) keep(secret string) {
	p.secrets = append(p.secrets, secret, url.QueryEscape(secret))
}

func (s *EndpointSource) request(ctx context.Context, at *endpoint, p *parameters) (*http.Request, error) {
	body, contentType := s.encode(p.body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at.url, strings.NewReader(body))
	if err != nil {
		return nil, credentialsErrorf("token-url cannot be requested")
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	if p.user != "" {
		request.SetBasicAuth(p.user, p.password)
	}
	return request, nil
}

func (s *EndpointSource) encode(parameters map[string]string) (body, contentType string) {
	if s.Encoding == EncodingJSON {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(parameters) // a map of strings into memory cannot fail
		return b.String(), "application/json"
	}
	form := url.Values{}
	for name, value := range parameters {
		form.Set(name, value)
	}
	return form.Encode(), "application/x-www-form-urlencoded"
}
