// SPDX-License-Identifier: Apache-2.0

package token

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// typeAccessToken is the typ header that keeps an access token from being taken
// for another JWT.
// https://www.rfc-editor.org/rfc/rfc9068#section-2.1
const typeAccessToken = "at+jwt"

// maxJWT is the longest access token that is given out as a JWT unless the app
// asks for one: common proxies refuse headers of 8 KiB, and what stands beside
// the token needs room too (tokenserver.md 8).
const maxJWT = 4 << 10

// maxWishedJWT is the longest that is given out to an app that asks for a JWT.
// Our own endpoints take no more: 64 KiB of headers, or of parameters, of which
// a client assertion may fill a quarter.
const maxWishedJWT = 48 << 10

// SigningKeys signs and verifies; *keys.Keyring is one.
type SigningKeys interface {
	Signer(algorithm string) (keys.Signer, error)
	Public(keyID string) (keys.PublicKey, bool)
}

// Issuer issues access tokens.
type Issuer struct {
	Keys SigningKeys
	// Issuer is the issuer's URL: the iss, and the aud of tokens for this
	// server's own resources.
	Issuer string
	// Lifetime is how long a token is valid, in whole seconds.
	Lifetime time.Duration
	Now      func() time.Time
	// Opaque stores opaque tokens.
	Opaque OpaqueTokens
}

// IssueFor issues t to app, in the format and signed by the algorithm that the
// app asks for.
func (i *Issuer) IssueFor(ctx context.Context, app *clients.App, t *AccessToken) (string, error) {
	i.stamp(t)
	if app.AccessTokenFormat == FormatOpaque {
		return i.Opaque.issue(ctx, t)
	}
	raw, err := i.sign(t, cmp.Or(app.AccessTokenAlg, keys.ES256))
	switch {
	case err != nil:
		return "", err
	case app.AccessTokenFormat == "" && len(raw) > maxJWT:
		return i.Opaque.issue(ctx, t)
	case len(raw) > maxWishedJWT:
		return "", errTooLong
	}
	return raw, nil
}

var errTooLong = oauth.Errorf(oauth.CodeInvalidScope,
	"the token would be longer than %d KiB: ask for fewer scopes, or leave out access_token_format of the app", maxWishedJWT>>10)

// Issue makes a JWT that says what t says; the issuer sets ID, IssuedAt and
// ExpiresAt. The raw token is returned.
func (i *Issuer) Issue(t *AccessToken) (string, error) {
	i.stamp(t)
	return i.sign(t, keys.ES256)
}

func (i *Issuer) sign(t *AccessToken, algorithm string) (string, error) {
	signer, err := i.Keys.Signer(algorithm)
	if err != nil {
		return "", err
	}
	c := claims{
		Issuer: i.Issuer, Subject: t.Subject, Audience: i.Issuer, ExpiresAt: t.ExpiresAt.Unix(), IssuedAt: t.IssuedAt.Unix(),
		ID: t.ID, ClientID: t.ClientID, Scope: oauth.JoinScopes(t.Scopes), OrgID: t.OrgID, GrantID: t.GrantID, Contexts: t.Contexts,
		Epochs: t.Epochs,
	}
	if !t.AuthTime.IsZero() {
		c.AuthTime = t.AuthTime.Unix()
	}
	raw, err := sign(signer, typeAccessToken, &c)
	if err != nil {
		return "", fmt.Errorf("signing an access token: %w", err)
	}
	return raw, nil
}

// stamp gives t its identity and its life. Claims count whole seconds.
func (i *Issuer) stamp(t *AccessToken) {
	t.ID = text.Random(16)
	t.IssuedAt = i.Now().UTC().Truncate(time.Second)
	t.ExpiresAt = t.IssuedAt.Add(i.Lifetime)
	t.IsUser = t.Subject != t.ClientID
}

// The claims are this server's own; the verifier checks them, not the parser.

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return date(c.ExpiresAt), nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return date(c.IssuedAt), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (c *claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return jwt.ClaimStrings{c.Audience}, nil }

func date(unix int64) *jwt.NumericDate { return jwt.NewNumericDate(time.Unix(unix, 0)) }
