// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/authorize"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/login"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/session"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/userinfo"
	"connectedapps.dev/operator/internal/tokenserver/grant"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/views"
)

// persons is what serves people and the apps that act for them.
type persons struct {
	directory     *user.People
	authenticator *user.Authenticator
	tokens        *grant.UserTokens
	refresh       *grant.RefreshTokens
}

func (s *Server) newPersons() *persons {
	c := &s.config
	p := &persons{
		directory:     &user.People{Directory: c.Directory, Store: c.Store},
		authenticator: &user.Authenticator{Directory: c.Directory, Now: c.Now, Derive: c.DerivePassword, Failed: s.metrics.SignInFailed},
		refresh: &grant.RefreshTokens{
			Store: c.Store, Key: c.Keyring.DataKey(storage.PurposeRefresh), Now: c.Now, Holders: s.holders,
		},
	}
	p.tokens = &grant.UserTokens{
		Access: s.tokens, People: p.directory, Holders: s.holders,
		ID: &token.IDTokens{Keys: c.Keyring, Issuer: c.issuer(), Lifetime: c.AccessTokenLifetime, Now: c.Now},
	}
	return p
}

// grants are those in which an app acts for a user.
func (p *persons) grants(c *Config) []grant.Grant {
	return []grant.Grant{
		&grant.AuthorizationCode{Codes: c.Store, Tokens: p.tokens, Refresh: p.refresh, Now: c.Now},
		&grant.RefreshToken{Tokens: p.tokens, Refresh: p.refresh},
		&grant.Password{Authenticator: p.authenticator, Tokens: p.tokens, Now: c.Now},
	}
}

// admits returns a user if app may still act for it: app is nil for the platform's
// own sign-in. What cannot be told is the server's trouble, and nobody's right.
func (p *persons) admits(ctx context.Context, app *clients.App, userID string) (*directory.User, error) {
	found, err := p.directory.Find(ctx, userID)
	switch {
	case err == nil && app != nil:
		err = user.Admits(app, found)
	case err == nil && !found.Enabled:
		err = user.ErrDisabled
	}
	if user.Refused(err) {
		err = fmt.Errorf("%w: user %s: %w", token.ErrInvalid, userID, err)
	}
	return found, err
}

// TakeDirectory takes over organizations and users that were read again, and ends
// what the change ends. On an error it may be called again; whoever is gone or
// disabled is refused meanwhile.
func (s *Server) TakeDirectory(ctx context.Context, next *directory.Directory) error {
	s.config.Directory.Store(next)
	return s.observe(ctx)
}

// observe ends for good what belongs to users who are gone, disabled, or have
// another password or organization, to organizations that are gone, and to users
// of identity providers that are gone, since the configuration was last observed,
// by whatever replica and before whatever restart: nothing of it comes back when
// they do.
func (s *Server) observe(ctx context.Context) error {
	// One at a time, and each the newest: an older configuration that were compared
	// last would end what the newer one allows.
	s.observing.Lock()
	defer s.observing.Unlock()
	d := s.config.Directory.Load()
	var present []storage.Configured
	for _, org := range d.Organizations() {
		present = append(present, storage.Configured{Kind: storage.EpochOrganization, Key: org.ID, State: "present"})
		for _, provider := range org.IdentityProviders {
			present = append(present, storage.Configured{
				Kind: storage.EpochProvider, Key: storage.ProviderKey(org.ID, provider.ID), State: "present",
			})
		}
	}
	for _, u := range d.Users() {
		state := ""
		if u.Enabled {
			// Hashed, so that the table holds nothing to guess a password with.
			state = hex.EncodeToString(s.hasher().Hash(u.OrganizationID + " " + u.PasswordHash))
		}
		present = append(present, storage.Configured{Kind: storage.EpochUser, Key: u.ID, State: state})
	}
	return s.ended.Observe(ctx, present)
}

// hint reads an id_token_hint.
func (p *persons) hint(raw string) (authrequest.IDTokenHint, error) {
	t, err := p.tokens.ID.Recognise(raw)
	return authrequest.IDTokenHint{Subject: t.Subject, ClientID: t.ClientID, SessionID: t.SessionID}, err
}

// newCookies are those of the pages at publicURL. On http loopback several
// servers share a host, so that the port tells their cookies apart.
func newCookies(publicURL string, key []byte) *user.Cookies {
	cookies := &user.Cookies{Secure: strings.HasPrefix(publicURL, "https:"), Key: key}
	if u, err := url.Parse(publicURL); err == nil && !cookies.Secure {
		cookies.Port = u.Port()
	}
	return cookies
}

// pages are the endpoints that people see, and those that tell of them.
func (s *Server) pages(log *audit.Log, authenticate authenticateFunc) []route {
	c, p := &s.config, s.persons
	cookies := newCookies(c.PublicURL, c.Keyring.DataKey(storage.PurposeCookie))
	sessions := &user.Sessions{Store: c.Store, Directory: c.Directory, Ended: s.ended, Cookies: cookies, Now: c.Now}
	forms := &user.Forms{Cookies: cookies, Origin: httpx.Origin(c.PublicURL), Now: c.Now}
	requests := &authrequest.Requests{Apps: s.view, Forms: forms, Sealer: c.Keyring, Hint: p.hint, Now: c.Now}
	consents := &user.Consents{Store: c.Store, Ended: s.ended, Now: c.Now}
	renderer := pages.New()
	authorization := &authorize.Endpoint{
		Issuer: c.issuer(), Requests: requests, Directory: c.Directory, Sessions: sessions, Forms: forms, Consents: consents,
		Codes: c.Store, Ended: s.ended, Pages: renderer, Audit: log, Logger: c.Logger, Now: c.Now,
	}
	asPage := func(w http.ResponseWriter, r *http.Request, err error) {
		w.Header().Set("Retry-After", "2")
		renderer.Problem(w, r, c.Logger, pages.Problem{Status: http.StatusServiceUnavailable, Cause: err, View: pages.Error{Kind: "unavailable"}})
	}
	return []route{
		{always, asPage, renderer},
		{always, asPage, views.BrandAssets{Directory: c.Directory}},
		{confirmed, asPage, authorization},
		{confirmed, asPage, &session.Endpoint{
			Requests: requests, Apps: s.view, Directory: c.Directory, Authenticator: p.authenticator, Sessions: sessions,
			Forms: forms, Consents: consents, Hint: p.hint, Source: c.Source, Pages: renderer, Audit: log, Logger: c.Logger,
		}},
		{confirmed, s.asAPI, &userinfo.Endpoint{Authenticate: authenticate, Logger: c.Logger}},
		{confirmed, s.asAPI, &login.Endpoint{
			Authenticator: p.authenticator, Issuer: s.tokens, Verifier: s.verifier, Ended: s.ended, Directory: c.Directory, Source: c.Source,
			Disabled: c.LoginDisabled, Audit: log, Metrics: s.metrics, Logger: c.Logger, Now: c.Now,
		}},
	}
}

// describePeople adds to the metadata what serves people.
func (s *Server) describePeople(m *oauth.Metadata) {
	m.AuthorizationEndpoint = s.config.PublicURL + oauth.PathAuthorize
	m.UserinfoEndpoint = s.config.PublicURL + oauth.PathUserInfo
	m.EndSessionEndpoint = s.config.PublicURL + oauth.PathEndSession
	m.ResponseTypesSupported = []string{"code"}
	m.ResponseModesSupported = []string{"query"}
	m.CodeChallengeMethodsSupported = []string{"S256"}
	m.AuthorizationResponseISSParameterSupported = true
	m.ClaimsSupported = []string{
		"iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "at_hash", "sid",
		"preferred_username", "name", "given_name", "family_name", "org_id", "email", "email_verified", "groups",
	}
}
