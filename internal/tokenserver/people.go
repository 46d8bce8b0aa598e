// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/authrequest"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/authorize"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/login"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/session"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/userinfo"
	"connectedapps.dev/operator/internal/tokenserver/grant"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
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
		authenticator: &user.Authenticator{Directory: c.Directory, Now: c.Now},
		refresh: &grant.RefreshTokens{
			Store: c.Store, Key: c.Keyring.DataKey(storage.PurposeRefresh), Now: c.Now, TokenLifetime: c.AccessTokenLifetime,
			Revoked: s.revocations.Load,
		},
	}
	p.tokens = &grant.UserTokens{
		Access: s.tokens, People: p.directory,
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

// admits tells whether the user of a token may still act: it is not disabled
// and not removed. While that cannot be told, what the token says holds.
func (p *persons) admits(ctx context.Context, t *token.AccessToken) bool {
	found, err := p.directory.Find(ctx, t.Subject)
	if err != nil {
		return !errors.Is(err, user.ErrUnknown)
	}
	return found.Enabled
}

// TakeDirectory takes over organizations and users that were read again. The
// access tokens of a user who is gone or disabled end for good: they do not
// come back when the user does. On an error it may be called again.
func (s *Server) TakeDirectory(ctx context.Context, next *directory.Directory) error {
	before, now := s.config.Directory.Load(), s.config.Now()
	s.config.Directory.Store(next)
	for _, u := range before.Users() {
		if after, stays := next.User(u.ID); !u.Enabled || (stays && after.Enabled) {
			continue
		}
		err := s.revocations.Revoke(ctx, storage.Revocation{
			Kind: storage.RevokeUser, Key: u.ID, NotBefore: now, ExpiresAt: now.Add(s.config.AccessTokenLifetime),
		})
		if err != nil {
			s.config.Directory.Store(before)
			return err
		}
	}
	return nil
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
func (s *Server) pages(log *audit.Log, authenticate authenticateFunc) []mountable {
	c, p := &s.config, s.persons
	cookies := newCookies(c.PublicURL, c.Keyring.DataKey(storage.PurposeCookie))
	sessions := &user.Sessions{Store: c.Store, Directory: c.Directory, Cookies: cookies, Now: c.Now}
	forms := &user.Forms{Cookies: cookies, Origin: user.Origin(c.PublicURL), Now: c.Now}
	requests := &authrequest.Requests{Apps: s.view, Forms: forms, Sealer: c.Keyring, Hint: p.hint, Now: c.Now}
	consents := &user.Consents{Store: c.Store, Now: c.Now, TokenLifetime: c.AccessTokenLifetime, Revoked: s.revocations.Load}
	renderer := pages.New()
	authorization := &authorize.Endpoint{
		Issuer: c.issuer(), Requests: requests, Directory: c.Directory, Sessions: sessions, Forms: forms, Consents: consents,
		Codes: c.Store, Pages: renderer, Audit: log, Logger: c.Logger, Now: c.Now,
	}
	return []mountable{
		authorization,
		&session.Endpoint{
			Requests: requests, Apps: s.view, Directory: c.Directory, Authenticator: p.authenticator, Sessions: sessions,
			Forms: forms, Consents: consents, Hint: p.hint, Source: c.Source, Pages: renderer, Audit: log, Logger: c.Logger,
		},
		&userinfo.Endpoint{People: p.directory, Authenticate: authenticate, Logger: c.Logger},
		&login.Endpoint{
			Authenticator: p.authenticator, Issuer: s.tokens, Verifier: s.verifier, Revocations: s.revocations, Source: c.Source,
			Disabled: c.LoginDisabled, Audit: log, Logger: c.Logger, Now: c.Now,
		},
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
		"preferred_username", "name", "given_name", "family_name", "org_id", "email", "email_verified",
	}
}
