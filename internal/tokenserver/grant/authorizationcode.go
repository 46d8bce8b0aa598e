// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// AuthorizationCode redeems the code that a user's consent sent to an app.
// https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3
type AuthorizationCode struct {
	Codes   storage.AuthorizationCodes
	Tokens  *UserTokens
	Refresh *RefreshTokens
	Now     func() time.Time
}

// Type implements Grant.
func (g *AuthorizationCode) Type() string { return oauth.GrantAuthorizationCode }

// NeedsClient implements Grant.
func (g *AuthorizationCode) NeedsClient() bool { return true }

// Cached implements Grant.
func (g *AuthorizationCode) Cached() bool { return false }

var errCode = oauth.Errorf(oauth.CodeInvalidGrant, "the code is unknown, expired, already used, or issued for another request")

// Authorize implements Grant.
func (g *AuthorizationCode) Authorize(ctx context.Context, r *Request) (*Result, error) {
	if r.Code == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter code is missing")
	}
	hash := sha256.Sum256([]byte(r.Code))
	code, err := g.Codes.Code(ctx, hash[:])
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errCode.WithCause(err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a code: %w", err)
	}
	if err := g.check(code, r); err != nil {
		return nil, errCode.WithCause(err)
	}
	if !code.RedeemedAt.IsZero() {
		return nil, g.replayed(ctx, code)
	}
	if !g.Now().Before(code.ExpiresAt) {
		return nil, errCode.WithCause(fmt.Errorf("it expired at %s", code.ExpiresAt))
	}
	if err := g.Tokens.Holders.alive(r.Client.App, code.UserID, code.GrantID, code.Epochs); err != nil {
		return nil, errCode.WithCause(err)
	}
	return g.redeem(ctx, r.Client.App, code)
}

// check compares the request with what the code is bound to. It comes before
// the look whether the code was used: only its own client may end a family by
// presenting a code again.
func (g *AuthorizationCode) check(code storage.AuthorizationCode, r *Request) error {
	switch app := r.Client.App; {
	case code.ClientID != app.ClientID:
		return errors.New("it was issued to another client")
	case code.RedirectURI != "" && r.RedirectURI != code.RedirectURI,
		code.RedirectURI == "" && r.RedirectURI != "" && !slices.Contains(app.RedirectURIs, r.RedirectURI):
		return errors.New("redirect_uri differs from the authorization request's")
	case code.Challenge == "" && r.CodeVerifier != "":
		// Else a stripped challenge would go unnoticed:
		// https://www.rfc-editor.org/rfc/rfc9700#section-4.8.2
		return errors.New("code_verifier was sent but the authorization request had no code_challenge")
	case code.Challenge != "" && !verifies(code.Challenge, r.CodeVerifier):
		return errors.New("code_verifier does not fit code_challenge")
	}
	return nil
}

// verifies tells whether challenge was made of verifier by S256.
// https://www.rfc-editor.org/rfc/rfc7636#section-4.6
func verifies(challenge, verifier string) bool {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	if len(verifier) < 43 || len(verifier) > 128 || strings.Trim(verifier, unreserved) != "" {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// redeem makes the tokens, then uses the code up, and only then hands them out: a
// fault in the middle leaves the code as it was, and no two callers ever get a set.
func (g *AuthorizationCode) redeem(ctx context.Context, app *clients.App, code storage.AuthorizationCode) (*Result, error) {
	person, err := g.Tokens.find(ctx, app, code.UserID)
	if err != nil {
		return nil, err
	}
	granted := authorization{
		app: app, user: person, grantID: code.GrantID, scopes: scopes.Within(code.Scopes, app.Scopes), epochs: code.Epochs,
		authTime: code.AuthTime, sessionID: code.SessionID, nonce: code.Nonce,
	}
	var family *storage.RefreshFamily
	if offline(granted) {
		family = g.Refresh.begin(granted, code.Hash)
	}
	result, err := g.Tokens.issue(ctx, granted)
	if err != nil {
		return nil, err
	}
	_, err = g.Codes.RedeemCode(ctx, code.Hash, g.Now(), family)
	switch {
	case errors.Is(err, storage.ErrAlreadyUsed):
		return nil, g.replayed(ctx, code)
	case errors.Is(err, storage.ErrNotFound):
		return nil, errCode.WithCause(errors.New("it was revoked meanwhile"))
	case err != nil:
		return nil, fmt.Errorf("redeeming a code: %w", err)
	}
	if family != nil {
		result.Response.RefreshToken = g.Refresh.derive(*family, family.Generation)
	}
	return result, nil
}

// replayed ends what a code has begun: somebody else has seen it.
// https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2
func (g *AuthorizationCode) replayed(ctx context.Context, code storage.AuthorizationCode) error {
	if err := g.Refresh.Holders.Ended.EndFamily(ctx, code.GrantID); err != nil {
		return err
	}
	return errCode.WithCause(errors.New("it was used before, so the tokens that came of it are revoked"))
}
