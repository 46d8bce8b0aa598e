// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// RefreshToken exchanges a refresh token for an access token and the next
// refresh token.
// https://www.rfc-editor.org/rfc/rfc6749#section-6
// https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2
type RefreshToken struct {
	Tokens  *UserTokens
	Refresh *RefreshTokens
}

// Type implements Grant.
func (g *RefreshToken) Type() string { return oauth.GrantRefreshToken }

// NeedsClient implements Grant.
func (g *RefreshToken) NeedsClient() bool { return true }

// Cached implements Grant.
func (g *RefreshToken) Cached() bool { return false }

var errRefresh = oauth.Errorf(oauth.CodeInvalidGrant, "the refresh token is unknown, expired, revoked, or issued to another client")

// Authorize implements Grant.
func (g *RefreshToken) Authorize(ctx context.Context, r *Request) (*Result, error) {
	if r.RefreshToken == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the parameter refresh_token is missing")
	}
	token, err := parseRefreshToken(r.RefreshToken)
	if err != nil {
		return nil, err
	}
	app := r.Client.App
	family, rotated, err := g.Refresh.present(ctx, token, app.ClientID, graceOf(r))
	if err != nil {
		return nil, err
	}
	if family.ClientID != app.ClientID {
		return nil, errRefresh.WithCause(errors.New("it was issued to another client"))
	}
	if err := g.Refresh.Holders.alive(app, family.UserID, family.ID, family.Epochs); err != nil {
		return nil, errRefresh.WithCause(err)
	}
	person, err := g.Tokens.find(ctx, app, family.UserID)
	if err != nil {
		return nil, err
	}
	// Asked for before rotating where that cannot be repeated: a refused request costs
	// no token.
	granted, err := narrow(scopes.Within(family.Scopes, app.Scopes), r.Scopes)
	if err != nil {
		return nil, err
	}
	if len(granted) == 0 {
		return nil, errRefresh.WithCause(errors.New("the app has none of its scopes any more"))
	}
	result, err := g.Tokens.issue(ctx, authorization{
		app: app, user: person, grantID: family.ID, scopes: granted, epochs: family.Epochs, authTime: family.AuthTime, sessionID: family.SessionID,
	})
	if err != nil {
		return nil, err
	}
	if !rotated {
		// Last of all: a fault before costs no refresh token.
		if family, err = g.Refresh.advance(ctx, family, token.generation(), graceOf(r)); err != nil {
			return nil, err
		}
	}
	result.Response.RefreshToken = g.Refresh.derive(family, family.Generation)
	return result, nil
}

// defaultGrace is how long a public client may repeat a refresh whose answer it
// did not get.
const defaultGrace = 30 * time.Second

// forever stands for a grace without an end in time: that of a client that
// proves itself. It ends when the current token is presented.
const forever = time.Duration(1<<63 - 1)

func graceOf(r *Request) time.Duration {
	switch app := r.Client.App; {
	case !r.Client.Public:
		return forever
	case app.RefreshGrace != nil:
		return *app.RefreshGrace
	}
	return defaultGrace
}

// present returns the living family of a token. Where the token may be presented
// again for as long as its successor was not, the family is rotated at once and
// nothing else is asked of the storage: what is refused afterwards costs no token.
// Everything but the current token of such a client goes the longer way, as does
// one of an earlier release, which has to be looked up before it can be recognised.
func (t *RefreshTokens) present(
	ctx context.Context, token presented, clientID string, grace time.Duration,
) (family storage.RefreshFamily, rotated bool, err error) {
	if grace == forever && t.is(token, t.nonce(token.head[:idBytes])) {
		now := t.Now()
		family, err = t.Store.RotateFamily(ctx, token.familyID(), clientID, token.generation(), token.generation()+1, now, now.Add(refreshLifetime))
		if err == nil {
			return family, true, nil
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return family, false, fmt.Errorf("rotating a refresh token: %w", err)
		}
	}
	family, err = t.familyOf(ctx, token)
	return family, false, err
}

// advance makes the presented generation's successor the current one. Presented
// again within its grace, the same successor comes back and nothing is written;
// anything older was stolen or copied, and ends the family. A generation above
// the current one is ours too, by its MAC: the database was restored from a backup
// since, and goes on from there.
func (t *RefreshTokens) advance(
	ctx context.Context, family storage.RefreshFamily, presented int64, grace time.Duration,
) (storage.RefreshFamily, error) {
	now := t.Now()
	if presented >= family.Generation {
		next, err := t.Store.RotateFamily(ctx, family.ID, family.ClientID, family.Generation, presented+1, now, now.Add(refreshLifetime))
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return family, fmt.Errorf("rotating a refresh token: %w", err)
		}
		// Somebody else was faster: what is presented is now the one before.
		if family, err = t.live(ctx, family.ID); err != nil {
			return family, err
		}
	}
	if presented == family.Generation-1 && now.Sub(family.RotatedAt) <= grace && grace > 0 {
		return family, nil
	}
	if err := t.Holders.Ended.EndFamily(ctx, family.ID); err != nil {
		return family, err
	}
	return family, errRefresh.WithCause(fmt.Errorf("generation %d was presented while %d is current: the family is revoked",
		presented, family.Generation))
}
