// SPDX-License-Identifier: Apache-2.0

package clientauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Assertions verifies private_key_jwt client assertions.
// https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
type Assertions struct {
	Apps Apps
	// Issuer is the only audience: an assertion for another endpoint, or for
	// the JWT bearer grant, is not client authentication.
	Issuer string
	Used   storage.Assertions
	Now    func() time.Time

	forgiven forgiven
}

func (a *Assertions) client(ctx context.Context, c *credentials) (*Client, error) {
	refuse := c.refuseAssertion
	issuer, err := assertion.Issuer(c.assertion)
	if err != nil {
		return nil, refuse(err)
	}
	app, known := a.Apps.App(issuer)
	switch {
	case !known:
		return nil, refuse(errors.New("iss is no app"))
	case c.id != "" && c.id != issuer:
		return nil, refuse(errors.New("client_id differs from iss"))
	case app.TokenEndpointAuthMethod != oauth.AuthMethodPrivateKeyJWT:
		return nil, refuse(fmt.Errorf("the app authenticates by %s", app.TokenEndpointAuthMethod))
	}
	claims, err := assertion.Verify(c.assertion, app.Keys, assertion.Policy{Audiences: []string{a.Issuer}, Now: a.Now()})
	switch {
	case err != nil:
		return nil, refuse(err)
	case claims.Subject != issuer:
		return nil, refuse(assertion.ClaimError("sub differs from iss"))
	case claims.ID == "":
		return nil, refuse(assertion.ClaimError("jti is missing"))
	}
	if err := a.Apps.Standing(app); err != nil {
		return nil, c.refuse("the client is disabled", err)
	}
	use := use{app.ClientID, claims.ID}
	until := claims.ExpiresAt.Add(assertion.Skew)
	err = a.Used.UseAssertion(ctx, use.clientID, use.jti, until)
	unuse := func() { a.forgiven.add(use, until, a.Now()) }
	switch {
	case errors.Is(err, storage.ErrAlreadyExists) && !a.forgiven.take(use):
		return nil, refuse(assertion.ClaimError("jti was used before"))
	case errors.Is(err, storage.ErrUnavailable):
		unuse() // it may have been written all the same
		return nil, fmt.Errorf("noting the use of an assertion: %w", err)
	case err != nil && !errors.Is(err, storage.ErrAlreadyExists):
		return nil, err
	}
	return &Client{App: app, unuse: unuse}, nil
}

// use is one use of an assertion.
type use struct{ clientID, jti string }

// maxForgiven bounds the memory that an outage may take.
const maxForgiven = 10_000

// forgiven are the uses that a fault of the storage made worthless. They are
// remembered here alone: at another replica the client signs a new assertion.
type forgiven struct {
	mu   sync.Mutex
	uses map[use]time.Time
}

func (f *forgiven) add(u use, until, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.uses == nil {
		f.uses = map[use]time.Time{}
	}
	if len(f.uses) >= maxForgiven {
		maps.DeleteFunc(f.uses, func(_ use, until time.Time) bool { return !now.Before(until) })
	}
	if len(f.uses) < maxForgiven {
		f.uses[u] = until
	}
}

// take tells whether the use was forgiven, and counts it.
func (f *forgiven) take(u use) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.uses[u]
	delete(f.uses, u)
	return ok
}

// refuseAssertion tells whoever holds the app's key what was wrong, such as
// which aud is expected; to all others every assertion is refused alike.
func (c *credentials) refuseAssertion(cause error) error {
	var claim assertion.ClaimError
	if errors.As(cause, &claim) {
		return c.refuse("the client assertion is not accepted: "+claim.Error(), cause)
	}
	return c.refuse("the client assertion is not accepted", cause)
}
