// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
)

// TokenGrantType is the grant type that an app needs for tokens that are obtained
// in some way.
func TokenGrantType(way v1alpha1.AccessTokenGrantType) string {
	switch way {
	case v1alpha1.AccessTokenRefreshToken:
		return oauth.GrantRefreshToken
	case v1alpha1.AccessTokenPassword:
		return oauth.GrantPassword
	case v1alpha1.AccessTokenJWTBearer:
		return oauth.GrantJWTBearer
	case v1alpha1.AccessTokenClientCredentials:
	}
	return oauth.GrantClientCredentials
}

// TokenUnfit is why an app, as its spec is, has no tokens like this; the empty
// reason: it may have.
func TokenUnfit(app *v1alpha1.ConnectedApp, token *v1alpha1.AccessToken) (reason, message string) {
	grant := TokenGrantType(token.GrantType())
	switch {
	case app.CredentialsType() == v1alpha1.CredentialsServiceAccount || app.CredentialsType() == v1alpha1.CredentialsPrivateKey:
		return v1alpha1.ReasonSecretlessNeedsSidecar, fmt.Sprintf(
			"ConnectedApp %s has spec.credentials.type %s, and what authenticates it is in its Pods alone: "+
				"use the refresher sidecar there and delete this AccessToken, or change the type to Secret", app.Name, app.CredentialsType())
	case !slices.Contains(app.Spec.GrantTypes, v1alpha1.GrantType(grant)):
		return v1alpha1.ReasonGrantNotAllowed, fmt.Sprintf(
			"ConnectedApp %s has spec.grantTypes %v, and this AccessToken needs an app with %s: make one for such an app",
			app.Name, app.Spec.GrantTypes, grant)
	case app.Spec.Enabled != nil && !*app.Spec.Enabled:
		return v1alpha1.ReasonAppDisabled, fmt.Sprintf(
			"ConnectedApp %s has spec.enabled false, so that the token server gives it no token and takes none of its tokens: "+
				"set it to true, or delete this AccessToken", app.Name)
	}
	return "", ""
}
