// SPDX-License-Identifier: Apache-2.0

package management

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// wireApp is the app as it is answered: arrays are arrays, absent texts are
// null, and there is no secret.
func wireApp(app *storage.App) oauth.ConnectedApp {
	wire := oauth.ConnectedApp{
		ClientID:                     app.ClientID,
		ClientName:                   app.Name,
		GrantTypes:                   array(app.GrantTypes),
		RedirectURIs:                 array(app.RedirectURIs),
		Scopes:                       scopeNames(scopesOf(app)),
		PublicKeys:                   array(app.PublicKeys),
		FederatedIdentities:          wireFederated(app.FederatedIdentities),
		Audience:                     app.Audience,
		ClientURI:                    nullable(app.ClientURI),
		PolicyURI:                    nullable(app.PolicyURI),
		TOSURI:                       nullable(app.TOSURI),
		CertExpiry:                   certExpiry(app.PublicKeys),
		Enabled:                      app.Enabled,
		OrgID:                        app.OrgID,
		OwnerOrgID:                   app.OwnerOrgID,
		OwnerUserID:                  app.OwnerUserID,
		GenerateISSClaimWithoutToken: app.GenerateISSClaimWithoutToken,
		IDProviderID:                 nullable(app.IDProviderID),
		TokenEndpointAuthMethod:      app.TokenEndpointAuthMethod,
		AccessTokenFormat:            nullable(app.AccessTokenFormat),
		IDTokenSignedResponseAlg:     cmp.Or(app.IDTokenAlg, keys.RS256),
		AccessTokenSignedResponseAlg: cmp.Or(app.AccessTokenAlg, keys.ES256),
		PostLogoutRedirectURIs:       array(app.PostLogoutRedirectURIs),
		IdentityProviders:            array(app.IdentityProviders),
		SkipUserConsent:              app.SkipUserConsent,
		AssertionsWithoutExpiry:      app.AssertionsWithoutExpiry,
		ExternalID:                   app.ExternalID,
		Revision:                     revision(app),
		CreatedAt:                    app.CreatedAt,
		UpdatedAt:                    app.UpdatedAt,
		ClientSecretUpdatedAt:        moment(app.SecretUpdatedAt),
	}
	if app.RefreshGrace != nil {
		seconds := int64(*app.RefreshGrace / time.Second)
		wire.RefreshGraceSeconds = &seconds
	}
	return wire
}

// revision also holds the times of creation and of the change: an app that was
// deleted and restored under its id counts anew, and a database that was put back
// from a copy counts again from where that was made.
func revision(app *storage.App) string {
	return strconv.FormatInt(app.CreatedAt.UnixMicro(), 36) + "." + strconv.FormatInt(app.Revision, 36) + "." +
		strconv.FormatInt(app.UpdatedAt.UnixMicro(), 36)
}

func wireScopes(list []storage.ContextScope) []oauth.ContextScope {
	wire := make([]oauth.ContextScope, len(list))
	for i, s := range list {
		wire[i] = oauth.ContextScope{Scope: s.Scope, ContextParams: oauth.ContextParams{Org: s.Org, EnvID: s.EnvID}}
	}
	return wire
}

func wireSecret(s storage.Secret) oauth.Secret {
	return oauth.Secret{ID: s.ID, CreatedAt: s.CreatedAt, ExpiresAt: moment(s.ExpiresAt), LastUsedAt: moment(s.LastUsedAt)}
}

func array(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func nullable(s string) *string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	return &s
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
