// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// ErrInvalid says that a token is not, or no longer, one of this server: what
// was wrong is in the text, for the log alone.
var ErrInvalid = errors.New("invalid token")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Apps is the view of the apps; *clients.View is one.
type Apps interface {
	App(clientID string) (*storage.App, bool)
}

// Verifier verifies this server's own access tokens.
type Verifier struct {
	Keys        SigningKeys
	Issuer      string
	Now         func() time.Time
	Apps        Apps
	Revocations *Revocations
	// Admits tells whether the token's user may still act; nil: every user.
	Admits func(ctx context.Context, t *AccessToken) bool
	Opaque OpaqueTokens
}

// Verify returns what a token says. Errors: ErrInvalid for a token that is not
// to be accepted; anything else is the server's own trouble.
func (v *Verifier) Verify(ctx context.Context, raw string) (*AccessToken, error) {
	t, err := v.read(ctx, raw)
	if err != nil {
		return nil, err
	}
	if !v.Now().Before(t.ExpiresAt) {
		return nil, invalid("expired at %s", t.ExpiresAt.Format(time.RFC3339))
	}
	return t, v.check(ctx, t)
}

func (v *Verifier) read(ctx context.Context, raw string) (*AccessToken, error) {
	if isOpaque(raw) {
		return v.Opaque.find(ctx, raw)
	}
	return v.readJWT(raw)
}

// check refuses a token whose app, user or grant has lost its right.
func (v *Verifier) check(ctx context.Context, t *AccessToken) error {
	app, ok := v.Apps.App(t.ClientID)
	switch {
	case t.ClientID == SignInClientID:
	case !ok:
		return invalid("the app %s is gone", t.ClientID)
	case !app.Enabled:
		return invalid("the app %s is disabled", t.ClientID)
	case t.IssuedAt.Before(app.NotBefore.Truncate(time.Second)):
		return invalid("tokens of the app %s issued before %s are revoked", t.ClientID, app.NotBefore.Format(time.RFC3339))
	}
	if v.Revocations.Ends(t) {
		return invalid("revoked")
	}
	if t.IsUser && v.Admits != nil && !v.Admits(ctx, t) {
		return invalid("the user %s may not act", t.Subject)
	}
	return nil
}

// SignInClientID stands for the platform itself in tokens of its own sign-in;
// no app can have it.
const SignInClientID = "login"

func (v *Verifier) readJWT(raw string) (*AccessToken, error) {
	if err := text.OneLine(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{keys.ES256}), jwt.WithIssuer(v.Issuer), jwt.WithAudience(v.Issuer),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(v.Now), jwt.WithStrictDecoding(),
	)
	var c claims
	if _, err := parser.ParseWithClaims(raw, &c, v.key); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c.token(), nil
}

func (v *Verifier) key(t *jwt.Token) (any, error) {
	if typ, _ := t.Header["typ"].(string); typ != typeAccessToken {
		return nil, invalid("typ is %q, not %s", typ, typeAccessToken)
	}
	// No extension is understood, so none may be critical (RFC 7515 section 4.1.11).
	if _, critical := t.Header["crit"]; critical {
		return nil, invalid("crit is not understood")
	}
	kid, _ := t.Header["kid"].(string)
	public, ok := v.Keys.Public(kid)
	if !ok || public.Algorithm != keys.ES256 {
		return nil, invalid("kid %q is unknown", kid)
	}
	return public.Key, nil
}
