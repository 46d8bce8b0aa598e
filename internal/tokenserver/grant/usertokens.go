// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// UserTokens issues what an app gets that acts for a user.
type UserTokens struct {
	Access *token.Issuer
	ID     *token.IDTokens
	People *user.People
}

// authorization is what a user has allowed an app.
type authorization struct {
	app       *storage.App
	user      *directory.User
	grantID   string
	scopes    []string
	authTime  time.Time
	sessionID string
	// nonce is the authorization request's; only the first id token has it.
	nonce string
}

// find returns the user if app may still act for it; invalid_grant otherwise.
func (u *UserTokens) find(ctx context.Context, app *storage.App, userID string) (*directory.User, error) {
	found, err := u.People.Find(ctx, userID)
	if err == nil {
		err = user.Admits(app, found)
	}
	if errors.Is(err, user.ErrUnknown) || errors.Is(err, user.ErrDisabled) || errors.Is(err, user.ErrNotAdmitted) {
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "the app may no longer act for the user").WithCause(err)
	}
	if err != nil {
		return nil, unavailable("finding the user", err)
	}
	return found, nil
}

// unavailable says that storage gave no answer: nothing is known to be wrong
// with the request, so the client may repeat it.
func unavailable(doing string, err error) error {
	failure := oauth.Errorf(oauth.CodeTemporarilyUnavailable, "the storage of the server does not answer, try again")
	failure.RetryAfter = retryAfter
	return failure.WithCause(fmt.Errorf("%s: %w", doing, err))
}

const retryAfter = 2 * time.Second

// issue makes the access token and, with openid, the id token.
func (u *UserTokens) issue(ctx context.Context, a authorization) (*Result, error) {
	t := &token.AccessToken{
		Subject: a.user.ID, ClientID: a.app.ClientID, OrgID: a.user.OrganizationID, GrantID: a.grantID, Scopes: a.scopes, AuthTime: a.authTime,
	}
	raw, err := u.Access.IssueFor(ctx, a.app.AccessTokenFormat, t)
	if err != nil {
		return nil, err
	}
	response := answer(raw, t)
	if slices.Contains(a.scopes, oauth.ScopeOpenID) {
		response.IDToken, err = u.ID.Issue(token.IDToken{
			Subject: a.user.ID, ClientID: a.app.ClientID, Nonce: a.nonce, SessionID: a.sessionID, AuthTime: a.authTime, AccessToken: raw,
			Claims: user.ClaimsOf(a.user, a.scopes),
		})
	}
	return &Result{Response: response, App: a.app, Token: t}, err
}
