// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"crypto"
	"errors"
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// App is an app as requests use it: the record, and what is derived from it once
// when it is read instead of at every request. It is read-only.
type App struct {
	storage.App
	// Keys are its public keys; what cannot be read is left out.
	Keys []crypto.PublicKey
	// OwnScopes are those of an app that acts for itself, profile included, which
	// is implicit (contract section 1 rule 9).
	OwnScopes []string
	// Origins are where it runs in a browser; none unless it is an enabled public
	// client.
	Origins []string
}

// Lookup finds apps; *View is one.
type Lookup interface {
	App(clientID string) (*App, bool)
}

// Prepare derives what requests need of a record.
func Prepare(record storage.App) *App {
	app := &App{App: record, OwnScopes: ownScopes(record.ContextScopes), Origins: origins(&record)}
	for _, text := range record.PublicKeys {
		if key, err := assertion.ParsePublicKey([]byte(text)); err == nil {
			app.Keys = append(app.Keys, key)
		}
	}
	return app
}

func ownScopes(assigned []storage.ContextScope) []string {
	seen := make(map[string]bool, len(assigned)+1)
	own := make([]string, 0, len(assigned)+1)
	for _, s := range append(slices.Clone(assigned), storage.ContextScope{Scope: oauth.ScopeProfile}) {
		if !seen[s.Scope] {
			seen[s.Scope] = true
			own = append(own, s.Scope)
		}
	}
	return own
}

func origins(app *storage.App) []string {
	var found []string
	if !app.Enabled || app.TokenEndpointAuthMethod != oauth.AuthMethodNone {
		return nil
	}
	for _, uri := range app.RedirectURIs {
		if origin := anyPort(httpx.Origin(uri)); origin != "" && !slices.Contains(found, origin) {
			found = append(found, origin)
		}
	}
	return found
}

// ActsForItself tells the two kinds of app apart: on its own behalf, with scopes
// in contexts, or on behalf of a user, with plain scope names.
func (a *App) ActsForItself() bool { return actsForItself(&a.App) }

// Reasons why an app may do nothing at present.
var (
	ErrDisabled         = errors.New("the app is disabled")
	ErrOrganizationGone = errors.New("the app's organization is not in the configuration")
)
