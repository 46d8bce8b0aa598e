// SPDX-License-Identifier: Apache-2.0

package management

import (
	"regexp"
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// privateForm is a scheme in reverse-domain form, exactly one slash, and no
// authority: "com.example.app:/oauth2redirect/example-provider". The first label
// is no web scheme, since those have no dot.
// https://www.rfc-editor.org/rfc/rfc8252#section-7.1
var privateForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*(\.[A-Za-z0-9][A-Za-z0-9-]*)+:/([^/].*)?$`)

// privateUse tells whether uri is of a private-use scheme, by which a device
// hands the answer to an app that is installed on it.
func privateUse(uri string) bool { return privateForm.MatchString(uri) }

// checkRedirects leaves private-use schemes to public clients: any app on a
// device may claim a scheme, and one that kept a secret there would have none.
func checkRedirects(app *storage.App) error {
	if app.TokenEndpointAuthMethod == oauth.AuthMethodNone {
		return nil
	}
	for _, list := range []struct {
		member string
		uris   []string
	}{{"redirect_uris", app.RedirectURIs}, {"post_logout_redirect_uris", app.PostLogoutRedirectURIs}} {
		if i := slices.IndexFunc(list.uris, privateUse); i >= 0 {
			return httpx.BadRequest("%s: a private-use scheme is for public clients; set token_endpoint_auth_method to none",
				element(list.member, i))
		}
	}
	return nil
}
