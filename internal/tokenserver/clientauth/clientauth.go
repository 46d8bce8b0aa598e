// SPDX-License-Identifier: Apache-2.0

// Package clientauth authenticates the client of a request to the token,
// introspection and revocation endpoints.
// https://www.rfc-editor.org/rfc/rfc6749#section-2.3
package clientauth

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// Client is an app that has authenticated, or a public one that has named
// itself. Only Authenticate makes one, so that whoever holds it need not ask.
type Client struct {
	App *clients.App
	// Public tells that the client has no secret to prove itself by.
	Public bool

	// unuse takes back that a client assertion was used; nil: there was none.
	unuse func()
}

// Failed is told why the request of an authenticated client failed. When the
// server's storage is to blame, or nobody waited for the answer, the client's assertion counts as unused, so that
// the client may repeat the request as it is.
func (c *Client) Failed(err error) {
	if c != nil && c.unuse != nil && (errors.Is(err, storage.ErrUnavailable) || errors.Is(err, context.Canceled)) {
		c.unuse()
	}
}

// Apps is the view of the apps; *clients.View is one.
type Apps interface {
	clients.Lookup
	Standing(app *clients.App) error
}

// Authenticator authenticates clients.
type Authenticator struct {
	Apps Apps
	// Hash is what is stored of a secret.
	Hash func(secret string) []byte
	// Used is told the id of the secret that was used.
	Used func(secretID string)
	// Assertions verifies client assertions.
	Assertions *Assertions
	// CatchUp brings what another replica has written into memory before a client is
	// refused: it may have been registered there, or got its secret, a moment ago.
	// Errors: the server's own trouble.
	CatchUp func(ctx context.Context) error
	Now     func() time.Time
}

// Authenticate returns the client of a request. Credentials come in the body,
// by Basic, or in both when they are equal, which real clients send (contract
// section 4). A Bearer header is not client authentication and is ignored.
// Errors: invalid_client with 401, invalid_request, or the server's own trouble.
func (a *Authenticator) Authenticate(r *http.Request, p httpx.Parameters) (*Client, error) {
	c, err := credentialsOf(r, p)
	if err != nil {
		return nil, err
	}
	before := a.app(c)
	client, err := a.attempt(r.Context(), c, before)
	if err == nil || httpx.AsError(err).Code != oauth.CodeInvalidClient || c.named() == "" {
		return client, err
	}
	if stale := a.CatchUp(r.Context()); stale != nil {
		return nil, stale
	}
	after := a.app(c)
	if after == before {
		return nil, err
	}
	return a.attempt(r.Context(), c, after)
}

// app is the one that the credentials name; nil: there is none.
func (a *Authenticator) app(c *credentials) *clients.App {
	if app, known := a.Apps.App(c.named()); known {
		return app
	}
	return nil
}

// attempt takes that app.
func (a *Authenticator) attempt(ctx context.Context, c *credentials, app *clients.App) (*Client, error) {
	// An invented client id stays out of the log: it could be a secret in the wrong
	// field.
	if app != nil && c.id != "" {
		httpx.EventOf(ctx).ClientID = c.id
	}
	if c.assertion != "" {
		return a.byAssertion(ctx, c)
	}
	return a.bySecret(c, app)
}

// Proves tells whether the request holds a credential, right or wrong. One that
// is empty counts as absent, like any parameter.
func Proves(r *http.Request, p httpx.Parameters) bool {
	_, basic := basicHeader(r)
	return basic || p["client_secret"] != "" || p["client_assertion"] != ""
}

// Parameters are those by which a client authenticates.
func Parameters() []string {
	return []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"}
}

// bySecret checks a client secret. An unknown client costs the same as a wrong
// secret and gets the same answer.
func (a *Authenticator) bySecret(c *credentials, app *clients.App) (*Client, error) {
	known := app != nil
	if !known {
		app = &nobody
	}
	standing := a.Apps.Standing(app)
	public := c.secret == "" && known && app.TokenEndpointAuthMethod == oauth.AuthMethodNone
	if public && standing == nil {
		return &Client{App: app, Public: true}, nil
	}
	secretID, matches := a.match(app, c)
	switch {
	case public:
		return nil, c.refuse("the client is disabled", standing)
	case c.secret == "":
		return nil, c.refuse("the client is unknown or its authentication is missing", nil)
	case !matches:
		return nil, c.refuse("the client is unknown or its secret is wrong", nil)
	case standing != nil:
		return nil, c.refuse("the client is disabled", standing)
	}
	a.Used(secretID)
	return &Client{App: app}, nil
}

// nobody has one secret that nothing hashes to.
var nobody = clients.App{Secrets: []clients.Secret{{}}, Optional: &clients.Optional{}}

// match looks for the secret among the live ones. Basic credentials are
// form-encoded (RFC 6749 section 2.3.1), but many clients send them plain: both
// readings are tried.
func (a *Authenticator) match(app *clients.App, c *credentials) (secretID string, matches bool) {
	now := a.Now()
	for _, candidate := range c.readings() {
		hash := a.Hash(candidate)
		for i := range app.Secrets {
			if s := &app.Secrets[i]; hmac.Equal([]byte(s.Hash), hash) && s.Live(now) {
				secretID, matches = s.ID, true
			}
		}
	}
	return secretID, matches
}

func (a *Authenticator) byAssertion(ctx context.Context, c *credentials) (*Client, error) {
	if a.Assertions == nil {
		return nil, c.refuse("client assertions are not accepted here", nil)
	}
	return a.Assertions.client(ctx, c)
}

// credentials are what a request presents.
type credentials struct {
	id, secret string
	// plain is the secret of Basic as sent, before form-decoding.
	plain                    string
	basic                    bool
	assertion, assertionType string
}

// named is the app that the credentials say they are of; empty: they do not.
func (c *credentials) named() string {
	if c.id != "" || c.assertion == "" {
		return c.id
	}
	issuer, _ := assertion.Issuer(c.assertion)
	return issuer
}

func (c *credentials) readings() []string {
	if c.plain != "" && c.plain != c.secret {
		return []string{c.secret, c.plain}
	}
	return []string{c.secret}
}

// refuse is invalid_client. A client that used Basic is told so
// (https://www.rfc-editor.org/rfc/rfc6749#section-5.2).
func (c *credentials) refuse(why string, cause error) error {
	e := oauth.Errorf(oauth.CodeInvalidClient, "%s", why).WithCause(cause)
	if c.basic {
		e.Challenge = `Basic realm="token endpoint", charset="UTF-8"`
	}
	return e
}

func credentialsOf(r *http.Request, p httpx.Parameters) (*credentials, error) {
	c := &credentials{
		id: p["client_id"], secret: p["client_secret"],
		assertion: p["client_assertion"], assertionType: p["client_assertion_type"],
	}
	header, ok := basicHeader(r)
	if !ok {
		return c, c.onlyOneMethod()
	}
	c.basic = true
	id, plain, err := decodeBasic(header)
	if err != nil {
		return nil, c.refuse("the Basic credentials cannot be read", err)
	}
	secret := formDecode(plain)
	if c.id != "" && c.id != id && c.id != formDecode(id) {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "client_id differs between the Authorization header and the body")
	}
	if c.secret != "" && !slices.Contains([]string{plain, secret}, c.secret) {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "client_secret differs between the Authorization header and the body")
	}
	if c.id == "" {
		c.id = formDecode(id)
	}
	c.secret, c.plain = secret, plain
	return c, c.onlyOneMethod()
}

// onlyOneMethod refuses two ways at once
// (https://www.rfc-editor.org/rfc/rfc6749#section-2.3).
func (c *credentials) onlyOneMethod() error {
	if c.assertion != "" && c.secret != "" {
		return oauth.Errorf(oauth.CodeInvalidRequest, "client_secret and client_assertion exclude each other")
	}
	if c.assertion != "" && c.assertionType != oauth.AssertionTypeJWTBearer {
		return oauth.Errorf(oauth.CodeInvalidRequest, "client_assertion_type must be %s", oauth.AssertionTypeJWTBearer)
	}
	return nil
}

func basicHeader(r *http.Request) (encoded string, ok bool) {
	scheme, encoded, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	encoded = strings.TrimSpace(encoded)
	return encoded, strings.EqualFold(scheme, "Basic") && encoded != ""
}

func decodeBasic(encoded string) (id, secret string, err error) {
	decoded, err := text.DecodeBase64(base64.StdEncoding, encoded)
	if err != nil {
		return "", "", errors.New("not base64")
	}
	id, secret, found := strings.Cut(string(decoded), ":")
	if !found {
		return "", "", fmt.Errorf("no colon in %d bytes", len(decoded))
	}
	return id, secret, nil
}

// formDecode returns text itself when it is not form-encoded.
func formDecode(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	return text
}
