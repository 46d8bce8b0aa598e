// SPDX-License-Identifier: Apache-2.0

package authrequest

import (
	"net/url"
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
)

// parseScopes reads the asked scopes, all of the app's when the request names
// none. Beside openid a scope that the app does not have is left out, and the
// token response says what was granted: "Scope values used that are not
// understood by an implementation SHOULD be ignored."
// https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
func (r *Request) parseScopes(query url.Values) *Refusal {
	asked := oauth.SplitScopes(query.Get("scope"))
	openID := slices.Contains(asked, oauth.ScopeOpenID)
	if len(asked) == 0 {
		asked = r.App.Scopes
	}
	has, seen := scopes.SetOf(r.App.Scopes), scopes.Set{}
	for _, scope := range asked {
		if !scopes.WellFormed(scope) {
			return Refuse(oauth.CodeInvalidScope, "scope is malformed")
		}
		switch {
		case !has[scope]:
			// Without openid itself there would be no id token, which the app
			// waits for.
			if !openID || scope == oauth.ScopeOpenID {
				return Refuse(oauth.CodeInvalidScope, "the app does not have the scope "+scope)
			}
		case scope == oauth.ScopeOfflineAccess && !slices.Contains(r.App.GrantTypes, oauth.GrantRefreshToken):
			// It means nothing to an app that gets no refresh token.
		case !seen[scope]:
			seen[scope] = true
			r.Scopes = append(r.Scopes, scope)
		}
	}
	if len(r.Scopes) == 0 {
		return Refuse(oauth.CodeInvalidScope, "no scope is left to ask for")
	}
	return nil
}
