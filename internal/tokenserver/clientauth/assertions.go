// SPDX-License-Identifier: Apache-2.0

package clientauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
)

// Assertions verifies private_key_jwt client assertions.
// https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
type Assertions struct {
	Apps Apps
	// Issuer is the only audience: an assertion for another endpoint, or for
	// the JWT bearer grant, is not client authentication.
	Issuer string
	Used   *assertion.Uses
	Now    func() time.Time
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
	forgive, err := a.Used.Use(ctx, app.ClientID, claims.ID, claims.ExpiresAt)
	switch {
	case errors.Is(err, assertion.ErrUsed):
		return nil, refuse(err)
	case err != nil:
		return nil, err
	}
	return &Client{App: app, unuse: forgive}, nil
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
