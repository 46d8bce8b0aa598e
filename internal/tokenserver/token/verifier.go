// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// ErrInvalid says that a token is not, or no longer, one of this server: what
// was wrong is in the text, for the log alone.
var ErrInvalid = errors.New("invalid token")

// errAhead says that a token was issued by a replica that knows more than this one.
var errAhead = fmt.Errorf("%w: it says more than is known here", ErrInvalid)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Apps is the view of the apps; *clients.View is one.
type Apps interface {
	clients.Lookup
	Standing(app *clients.App) error
}

// Verifier verifies this server's own access tokens.
type Verifier struct {
	Keys   SigningKeys
	Issuer string
	Now    func() time.Time
	Apps   Apps
	Ended  *ended.Ledger
	// Admits returns the user of that id if app may still act for it; app is nil
	// for a token of the platform's own sign-in. Errors: ErrInvalid, or the
	// server's own trouble.
	Admits func(ctx context.Context, app *clients.App, userID string) (*directory.User, error)
	// CatchUp brings what another replica has written into memory, before a token is
	// refused that was issued there and says more than this one knows. Errors: the
	// server's own trouble.
	CatchUp func(ctx context.Context) error
	Opaque  OpaqueTokens
}

// Verify returns what a token says, and no more than its app still has. Errors:
// ErrInvalid for a token that is not to be accepted; anything else is the
// server's own trouble.
func (v *Verifier) Verify(ctx context.Context, raw string) (*AccessToken, error) {
	t, err := v.Recognise(ctx, raw)
	if err != nil {
		return nil, err
	}
	err = v.check(ctx, t)
	if errors.Is(err, errAhead) {
		if err := v.CatchUp(ctx); err != nil {
			return nil, err
		}
		err = v.check(ctx, t)
	}
	return t, err
}

// Recognise returns what a token says that this server has issued and that has not
// expired, whether its app, its user or it itself has ended or is refused at
// present: what is revoked meanwhile must not come back with its holder. Errors:
// as Verify.
func (v *Verifier) Recognise(ctx context.Context, raw string) (*AccessToken, error) {
	t, err := v.read(ctx, raw)
	if err != nil {
		return nil, err
	}
	if !v.Now().Before(t.ExpiresAt) {
		return nil, invalid("expired at %s", t.ExpiresAt.Format(time.RFC3339))
	}
	return t, nil
}

func (v *Verifier) read(ctx context.Context, raw string) (*AccessToken, error) {
	if isOpaque(raw) {
		return v.Opaque.find(ctx, raw)
	}
	return v.readJWT(raw)
}

// check refuses a token whose app, user or grant has lost its right.
func (v *Verifier) check(ctx context.Context, t *AccessToken) error {
	app, err := v.app(t)
	if err != nil {
		return err
	}
	switch err := v.Ended.Check(ended.Issued{Holder: t.holder(app), Epochs: t.Epochs, ID: t.ID, GrantID: t.GrantID}); {
	case errors.Is(err, ended.ErrAhead):
		return fmt.Errorf("%w: %w", errAhead, err)
	case err != nil:
		return invalid("%v", err)
	}
	if t.IsUser {
		if t.User, err = v.Admits(ctx, app, t.Subject); err != nil {
			return err
		}
	}
	if app != nil {
		t.narrow(app)
	}
	return nil
}

// app is nil for a token of the platform's own sign-in.
func (v *Verifier) app(t *AccessToken) (*clients.App, error) {
	if t.ClientID == SignInClientID {
		return nil, nil
	}
	app, ok := v.Apps.App(t.ClientID)
	if !ok {
		return nil, fmt.Errorf("%w: the app %s is unknown, or gone", errAhead, t.ClientID)
	}
	if err := v.Apps.Standing(app); err != nil {
		return nil, invalid("app %s: %v", t.ClientID, err)
	}
	return app, nil
}

func (t *AccessToken) holder(app *clients.App) ended.Holder {
	h := ended.Holder{ClientID: t.ClientID, OrganizationID: t.OrgID}
	if app != nil {
		h.OrganizationID = app.OrgID
	}
	if t.IsUser {
		h.UserID = t.Subject
	}
	return h
}

// narrow takes away what the app has lost since the token was issued: at our own
// endpoints a token counts for no more than its app still has.
func (t *AccessToken) narrow(app *clients.App) {
	if t.IsUser {
		t.Scopes = scopes.Within(t.Scopes, app.Scopes)
		return
	}
	listed := scopes.Among(app.ContextScopes)
	assigned := func(s storage.ContextScope) bool { return s == implicit || listed(s) }
	limited, left := scopes.Set{}, scopes.Set{}
	var contexts []Context
	for _, c := range t.Contexts {
		var names []string
		for name := range strings.SplitSeq(c.Scope, " ") {
			limited[name] = true
			if assigned(storage.ContextScope{Scope: name, Org: c.Org, EnvID: c.EnvID}) {
				names, left[name] = append(names, name), true
			}
		}
		if c.Scope = oauth.JoinScopes(names); c.Scope != "" {
			contexts = append(contexts, c)
		}
	}
	t.Contexts = contexts
	t.Scopes = slices.DeleteFunc(t.Scopes, func(scope string) bool {
		return !left[scope] && (limited[scope] || !assigned(storage.ContextScope{Scope: scope}))
	})
}

// implicit is the scope that every app has that acts for itself (contract section 1
// rule 9).
var implicit = storage.ContextScope{Scope: oauth.ScopeProfile}

// SignInClientID stands for the platform itself in tokens of its own sign-in. It
// has a character that neither a configuration nor this server puts in a client
// id, so that no app can have it.
const SignInClientID = "platform:sign-in"

// IsReserved tells whether a client id is the server's own. Tokens of a sign-in name
// no app, but a client id that only the server uses: what were issued to or revoked
// of an app of that name would be theirs too.
func IsReserved(clientID string) bool {
	// login: the name of it in tokens of earlier releases.
	return clientID == "login" || clientID == SignInClientID
}
