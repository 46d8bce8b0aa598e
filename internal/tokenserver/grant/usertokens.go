// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Holders tells at which epochs an app may be issued something now.
type Holders struct {
	Apps  token.Apps
	Ended *ended.Ledger
}

// at are the present epochs of app, and of the user whom it acts for. They are
// read before anything else is checked again, so that what ends in between ends
// what is issued. invalid_grant when the app may do nothing any more.
func (h *Holders) at(app *clients.App, userID string) (storage.Epochs, error) {
	epochs := h.Ended.Epochs(holder(app, userID))
	present, ok := h.Apps.App(app.ClientID)
	if !ok || h.Apps.Standing(present) != nil {
		return epochs, errLostApp
	}
	return epochs, nil
}

var errLostApp = oauth.Errorf(oauth.CodeInvalidGrant, "the app was disabled or deleted meanwhile")

// alive tells whether what was issued at these epochs still is.
func (h *Holders) alive(app *clients.App, userID, grantID string, at storage.Epochs) error {
	return h.Ended.Check(ended.Issued{Holder: holder(app, userID), Epochs: at, GrantID: grantID})
}

func holder(app *clients.App, userID string) ended.Holder {
	return ended.Holder{ClientID: app.ClientID, OrganizationID: app.OrgID, UserID: userID}
}

// UserTokens issues what an app gets that acts for a user.
type UserTokens struct {
	Access  *token.Issuer
	ID      *token.IDTokens
	People  *user.People
	Holders *Holders
}

// authorization is what a user has allowed an app.
type authorization struct {
	app       *clients.App
	user      *directory.User
	grantID   string
	scopes    []string
	epochs    storage.Epochs
	authTime  time.Time
	sessionID string
	// nonce is the authorization request's; only the first id token has it.
	nonce string
}

// admit makes the authorization of a user who has just been authenticated; the
// account must still be what it was then.
func (u *UserTokens) admit(ctx context.Context, app *clients.App, person *directory.User) (authorization, error) {
	epochs, err := u.Holders.at(app, person.ID)
	if err != nil {
		return authorization{}, err
	}
	found, err := u.find(ctx, app, person.ID)
	if err == nil && found.PasswordHash != person.PasswordHash {
		err = errLostUser
	}
	return authorization{app: app, user: found, epochs: epochs}, err
}

// admitFound is admit for a user who was found, and whom the app was found to act
// for, since so many epochs had been raised: as long as none was since, the user need
// not be found again.
func (u *UserTokens) admitFound(ctx context.Context, app *clients.App, person *directory.User, raised uint64) (authorization, error) {
	epochs, err := u.Holders.at(app, person.ID)
	if err != nil {
		return authorization{}, err
	}
	if u.Holders.Ended.Raised() != raised {
		return u.admit(ctx, app, person)
	}
	return authorization{app: app, user: person, epochs: epochs}, nil
}

var errLostUser = oauth.Errorf(oauth.CodeInvalidGrant, "the app may no longer act for the user")

// find returns the user if app may still act for it; invalid_grant otherwise.
func (u *UserTokens) find(ctx context.Context, app *clients.App, userID string) (*directory.User, error) {
	found, err := u.People.Find(ctx, userID)
	if err == nil {
		err = user.Admits(app, found)
	}
	if user.Refused(err) {
		return nil, errLostUser.WithCause(err)
	}
	return found, err
}

// issue makes the access token and, with openid, the id token.
func (u *UserTokens) issue(ctx context.Context, a authorization) (*Result, error) {
	t := &token.AccessToken{
		Subject: a.user.ID, ClientID: a.app.ClientID, OrgID: a.user.OrganizationID, GrantID: a.grantID, Scopes: a.scopes,
		Epochs: a.epochs, AuthTime: a.authTime,
	}
	raw, err := u.Access.IssueFor(ctx, a.app, t)
	if err != nil {
		return nil, err
	}
	response := answer(raw, t)
	if slices.Contains(a.scopes, oauth.ScopeOpenID) {
		response.IDToken, err = u.ID.Issue(token.IDToken{
			Subject: a.user.ID, ClientID: a.app.ClientID, Algorithm: a.app.IDTokenAlg, Nonce: a.nonce, SessionID: a.sessionID,
			AuthTime: a.authTime, AccessToken: raw, Claims: user.ClaimsOf(a.user, a.scopes),
		})
	}
	return &Result{Response: response, App: a.app, Token: t}, err
}
