// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// ClientCredentials lets an app act on its own behalf.
// https://www.rfc-editor.org/rfc/rfc6749#section-4.4
type ClientCredentials struct {
	Tokens  *token.Issuer
	Holders *Holders
	// ID issues the id token of an app with the scope openid:google_wif, which
	// it exchanges elsewhere for another platform's token (contract section 4).
	ID *token.IDTokens
}

// Type implements Grant.
func (g *ClientCredentials) Type() string { return oauth.GrantClientCredentials }

// NeedsClient implements Grant.
func (g *ClientCredentials) NeedsClient() bool { return true }

// Cached implements Grant.
func (g *ClientCredentials) Cached() bool { return true }

// Authorize implements Grant.
func (g *ClientCredentials) Authorize(ctx context.Context, r *Request) (*Result, error) {
	app := r.Client.App
	if r.Client.Public {
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "a public client cannot act on its own behalf")
	}
	scopes, err := narrow(app.OwnScopes, r.Scopes)
	if err != nil {
		return nil, err
	}
	epochs, err := g.Holders.at(app, "")
	if err != nil {
		return nil, err
	}
	t := &token.AccessToken{
		Subject: app.ClientID, ClientID: app.ClientID, OrgID: app.OrgID,
		Scopes: scopes, Contexts: contexts(app, scopes), Epochs: epochs,
	}
	raw, err := g.Tokens.IssueFor(ctx, app, t)
	if err != nil {
		return nil, err
	}
	response := answer(raw, t)
	if slices.Contains(scopes, oauth.ScopeGoogleWIF) {
		response.IDToken, err = g.ID.Issue(token.IDToken{Subject: app.ClientID, ClientID: app.ClientID, Algorithm: app.IDTokenAlg, AccessToken: raw})
	}
	return &Result{Response: response, App: app, Token: t}, err
}

// contexts are those of the granted scopes; of all of them they are known already.
func contexts(app *clients.App, granted []string) []token.Context {
	if len(granted) == len(app.OwnScopes) {
		return token.ContextsOf(app.ContextScopes)
	}
	isGranted := make(map[string]bool, len(granted))
	for _, scope := range granted {
		isGranted[scope] = true
	}
	kept := slices.DeleteFunc(slices.Clone(app.ContextScopes), func(s storage.ContextScope) bool { return !isGranted[s.Scope] })
	return token.ContextsOf(kept)
}
