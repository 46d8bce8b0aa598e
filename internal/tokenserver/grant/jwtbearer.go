// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// JWTBearer lets an app act for a user whom it vouches for by a signed
// assertion. The assertion is the app's credential too: iss names the app, and
// one of the app's public keys verifies it.
// https://www.rfc-editor.org/rfc/rfc7523#section-2.1
type JWTBearer struct {
	Apps      token.Apps
	Directory *directory.Live
	Users     storage.Users
	Used      *assertion.Uses
	Tokens    *UserTokens
	// Issuer is this server's; its token endpoint is below it. An assertion names
	// one of the two as its audience.
	Issuer, TokenEndpoint string
	Now                   func() time.Time
	Logger                *slog.Logger
	Metrics               *metrics.Metrics
}

// Type implements Grant.
func (g *JWTBearer) Type() string { return oauth.GrantJWTBearer }

// NeedsClient implements Grant.
func (g *JWTBearer) NeedsClient() bool { return false }

// Cached implements Grant.
func (g *JWTBearer) Cached() bool { return false }

// Authorize implements Grant.
func (g *JWTBearer) Authorize(ctx context.Context, r *Request) (*Result, error) {
	if r.Assertion == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter assertion is missing")
	}
	app, err := g.app(r)
	if err != nil {
		return nil, err
	}
	claims, err := g.verify(ctx, app, r.Assertion)
	if err != nil {
		return nil, err
	}
	raised := g.Tokens.Holders.Ended.Raised()
	asserted, provider, err := g.subject(app, claims.Subject)
	if err != nil {
		return nil, refuseAssertion(err)
	}
	scopes, err := narrow(withoutConsent(app), r.Scopes)
	if err != nil {
		return nil, err
	}
	now := g.Now()
	stored, err := g.learn(ctx, app, claims, asserted, now)
	if err != nil {
		return nil, err
	}
	person := user.Asserted(stored, provider)
	if err := user.Admits(app, person); err != nil {
		return nil, refuseAssertion(err)
	}
	a, err := g.Tokens.admitFound(ctx, app, person, raised)
	if err != nil {
		return nil, err
	}
	a.scopes, a.authTime = scopes, now
	if !claims.IssuedAt.IsZero() && claims.IssuedAt.Before(now) {
		a.authTime = claims.IssuedAt
	}
	result, err := g.Tokens.issue(ctx, a)
	if err != nil {
		return nil, err
	}
	// Last of all: nothing but an answer that succeeds uses an assertion up.
	return result, g.useOnce(ctx, app, claims)
}

// app is the one that iss names. A client that authenticates, or is named,
// beside its assertion must be the same.
func (g *JWTBearer) app(r *Request) (*clients.App, error) {
	issuer, err := assertion.Issuer(r.Assertion)
	if err != nil {
		return nil, refuseAssertion(err)
	}
	app, known := g.Apps.App(issuer)
	switch {
	case !known:
		return nil, refuseAssertion(errors.New("iss is no app"))
	case r.Client != nil && r.Client.App.ClientID != issuer:
		return nil, refuseAssertion(errors.New("iss differs from the client"))
	case r.ClientID != "" && r.ClientID != issuer:
		return nil, refuseAssertion(errors.New("iss differs from client_id"))
	}
	if err := g.Apps.Standing(app); err != nil {
		return nil, refuseAssertion(err)
	}
	return app, CheckListed(app, oauth.GrantJWTBearer)
}

func (g *JWTBearer) verify(ctx context.Context, app *clients.App, raw string) (*assertion.Claims, error) {
	claims, err := assertion.Verify(raw, app.Keys, assertion.Policy{
		Audiences: []string{g.TokenEndpoint, g.Issuer}, Now: g.Now(),
		WithoutExpiry: app.AssertionsWithoutExpiry || g.allowed(app).WithoutExpiry,
	})
	if err != nil {
		return nil, refuseAssertion(err)
	}
	if claims.ExpiresAt.IsZero() {
		g.Metrics.AssertionWithoutExpiry()
		g.Logger.WarnContext(ctx, "taking an assertion that never expires, as the app or its organization allows", "client_id", app.ClientID)
	}
	return claims, nil
}

// allowed is what the app's organization allows all its apps.
func (g *JWTBearer) allowed(app *clients.App) directory.Assertions {
	if org, ok := g.Directory.Load().Organization(app.OrgID); ok {
		return org.Assertions
	}
	return directory.Assertions{}
}

// neverExpires is how long the id of an assertion without exp is remembered.
const neverExpires = 10 * 365 * 24 * time.Hour

// useOnce lets an assertion with a jti count once
// (https://www.rfc-editor.org/rfc/rfc7523#section-3).
func (g *JWTBearer) useOnce(ctx context.Context, app *clients.App, claims *assertion.Claims) error {
	if claims.ID == "" {
		return nil
	}
	until := claims.ExpiresAt
	if until.IsZero() {
		until = g.Now().Add(neverExpires)
	}
	_, err := g.Used.Use(ctx, app.ClientID, claims.ID, until)
	if errors.Is(err, assertion.ErrUsed) {
		return refuseAssertion(err)
	}
	return err
}

// learn returns the asserted user as stored, with what is new about it.
func (g *JWTBearer) learn(
	ctx context.Context, app *clients.App, claims *assertion.Claims, asserted storage.User, now time.Time,
) (storage.User, error) {
	stored, err := g.Users.UserByName(ctx, asserted.OrgID, asserted.IDProviderID, asserted.Username)
	if err == nil && stored.With(asserted).Same(stored) {
		return stored, nil
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return storage.User{}, fmt.Errorf("reading the asserted user: %w", err)
	}
	if err := g.unused(ctx, app, claims); err != nil {
		return storage.User{}, err
	}
	if stored, err = g.Users.PutUser(ctx, asserted, now); err != nil {
		return storage.User{}, fmt.Errorf("storing the asserted user: %w", err)
	}
	return stored, nil
}

// unused refuses a replayed assertion before it changes what is known of its
// user, such as groups that a later one took away.
func (g *JWTBearer) unused(ctx context.Context, app *clients.App, claims *assertion.Claims) error {
	if claims.ID == "" {
		return nil
	}
	err := g.Used.Check(ctx, app.ClientID, claims.ID)
	if errors.Is(err, assertion.ErrUsed) {
		return refuseAssertion(err)
	}
	return err
}

// subject reads sub and decides whether the app may speak for that identity
// provider: it must be the organization's and among the app's or those that the
// organization allows every app. The local directory signs in by password, so
// nobody vouches for its users.
func (g *JWTBearer) subject(app *clients.App, sub string) (storage.User, directory.IdentityProvider, error) {
	var none directory.IdentityProvider
	s, err := assertion.ParseSubject(sub)
	if err != nil {
		return storage.User{}, none, err
	}
	org, ok := g.Directory.Load().Organization(app.OrgID)
	if !ok {
		return storage.User{}, none, errors.New("the app's organization is gone")
	}
	at := slices.IndexFunc(org.IdentityProviders, func(p directory.IdentityProvider) bool { return p.ID == s.ProviderID })
	listed := slices.Contains(app.IdentityProviders, s.ProviderID) || slices.Contains(org.Assertions.IdentityProviders, s.ProviderID)
	if s.ProviderID == directory.LocalProvider || at < 0 || !listed {
		return storage.User{}, none, errors.New("the identity provider in sub is not one that the app may speak for (identity_providers)")
	}
	asserted := storage.User{
		ID: uuid.NewString(), OrgID: org.ID, IDProviderID: s.ProviderID, Username: s.Username,
		FirstName: s.FirstName, LastName: s.LastName, Email: s.Email,
	}
	provider := org.IdentityProviders[at]
	if provider.TrustAssertedGroups {
		asserted.Groups = s.Groups
	}
	return asserted, provider, nil
}

// refuseAssertion tells the client why; no reason repeats more of the assertion
// than the name of a member.
func refuseAssertion(reason error) error {
	return oauth.Errorf(oauth.CodeInvalidGrant, "the assertion is not accepted: %s", text.Description(reason.Error())).WithCause(reason)
}
