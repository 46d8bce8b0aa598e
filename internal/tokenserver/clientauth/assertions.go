// SPDX-License-Identifier: Apache-2.0

package clientauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// Assertions verifies client assertions: those that a client signs with its own
// key (private_key_jwt), and the token of the workload that it runs as, which the
// workload's cluster has signed.
// https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication
// https://www.rfc-editor.org/rfc/rfc7523#section-2.2
type Assertions struct {
	Apps Apps
	// Workloads are the issuers of workload tokens.
	Workloads *workload.Issuers
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
	if a.Workloads.Has(issuer) {
		return a.workload(ctx, c)
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

// workload takes the token of a workload that is one of the app's federated
// identities. Such a token names no client, so the request must; and it serves
// until it expires, as the workload's file holds the same one for so long.
func (a *Assertions) workload(ctx context.Context, c *credentials) (*Client, error) {
	if c.id == "" {
		return nil, c.refuse("client_id is missing: the token of a workload does not say which app it is for", nil)
	}
	identity, err := a.Workloads.Verify(ctx, c.assertion)
	switch {
	case errors.Is(err, workload.ErrUnavailable):
		unavailable := oauth.Errorf(oauth.CodeTemporarilyUnavailable, "the issuer of the client assertion cannot be asked at present, try again")
		unavailable.RetryAfter = workload.RetryAfter
		return nil, unavailable.WithCause(err)
	case err != nil:
		return nil, c.refuseAssertion(err)
	}
	httpx.EventOf(ctx).Workload = identity.IssuerName + " " + identity.Subject
	app, known := a.Apps.App(c.id)
	// The same words for an app that does not exist: who may ask is told elsewhere.
	if !known || app.TokenEndpointAuthMethod == oauth.AuthMethodNone || !slices.Contains(app.FederatedIdentities, storage.FederatedIdentity(identity)) {
		return nil, c.refuseAssertion(assertion.ClaimError(fmt.Sprintf("it is of %s of the issuer %s, which is none of the federated_identities of the app",
			identity.Subject, identity.IssuerName)))
	}
	if err := a.Apps.Standing(app); err != nil {
		return nil, c.refuse("the client is disabled", err)
	}
	return &Client{App: app}, nil
}

// refuseAssertion tells whoever holds the app's key what was wrong, such as
// which aud is expected; to all others every assertion is refused alike.
func (c *credentials) refuseAssertion(cause error) error {
	var claim assertion.ClaimError
	if errors.As(cause, &claim) {
		return c.refuse("the client assertion is not accepted: "+text.Description(claim.Error()), cause)
	}
	return c.refuse("the client assertion is not accepted", cause)
}
