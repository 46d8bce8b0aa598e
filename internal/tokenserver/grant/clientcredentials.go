// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// ClientCredentials lets an app act on its own behalf.
// https://www.rfc-editor.org/rfc/rfc6749#section-4.4
type ClientCredentials struct {
	Tokens *token.Issuer
	// ID issues the id token of an app with the scope openid:google_wif, which
	// it exchanges elsewhere for another platform's token (contract section 4).
	ID *token.IDTokens
}

// Type implements Grant.
func (g *ClientCredentials) Type() string { return oauth.GrantClientCredentials }

// NeedsClient implements Grant.
func (g *ClientCredentials) NeedsClient() bool { return true }

// Authorize implements Grant.
func (g *ClientCredentials) Authorize(ctx context.Context, r *Request) (*Result, error) {
	app := r.Client.App
	if r.Client.Public {
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "a public client cannot act on its own behalf")
	}
	scopes, err := narrow(ownScopes(app), r.Scopes)
	if err != nil {
		return nil, err
	}
	t := &token.AccessToken{
		Subject: app.ClientID, ClientID: app.ClientID, OrgID: app.OrgID,
		Scopes: scopes, Contexts: contexts(app, scopes),
	}
	raw, err := g.Tokens.IssueFor(ctx, app.AccessTokenFormat, t)
	if err != nil {
		return nil, err
	}
	response := answer(raw, t)
	if slices.Contains(scopes, oauth.ScopeGoogleWIF) {
		response.IDToken, err = g.ID.Issue(token.IDToken{Subject: app.ClientID, ClientID: app.ClientID, AccessToken: raw})
	}
	return &Result{Response: response, App: app, Token: t}, err
}

// ownScopes are the scopes of an app that acts for itself. profile is implicit
// (contract section 1 rule 9).
func ownScopes(app *storage.App) []string {
	scopes := make([]string, 0, len(app.ContextScopes)+1)
	for _, s := range app.ContextScopes {
		if !slices.Contains(scopes, s.Scope) {
			scopes = append(scopes, s.Scope)
		}
	}
	if !slices.Contains(scopes, oauth.ScopeProfile) {
		scopes = append(scopes, oauth.ScopeProfile)
	}
	return scopes
}

// contexts are those of the granted scopes.
func contexts(app *storage.App, granted []string) []token.Context {
	kept := make([]storage.ContextScope, 0, len(app.ContextScopes))
	for _, s := range app.ContextScopes {
		if slices.Contains(granted, s.Scope) {
			kept = append(kept, s)
		}
	}
	return token.ContextsOf(kept)
}
