// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"crypto"
	"errors"
	"reflect"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// App is an app as requests use it: what they need of the record, and what is derived
// from it once when it is read instead of at every request. It is read-only. There may
// be many: each holds little, and shares what others have as well.
type App struct {
	ClientID, OrgID, ExternalID, Name string
	OwnerUserID, OwnerOrgID           string
	Audience                          string
	TokenEndpointAuthMethod           string
	AccessTokenFormat, AccessTokenAlg string
	GrantTypes                        []string
	ContextScopes                     []storage.ContextScope
	Secrets                           []Secret
	SecurityVersion                   int64
	Enabled, SkipUserConsent          bool
	AssertionsWithoutExpiry           bool
	// OwnScopes are those of an app that acts for itself, profile included, which
	// is implicit (contract section 1 rule 9).
	OwnScopes []string
	*Optional
}

// Optional is what most apps that act for themselves have nothing of.
type Optional struct {
	Scopes, RedirectURIs, PostLogoutRedirectURIs []string
	IdentityProviders                            []string
	FederatedIdentities                          []storage.FederatedIdentity
	ClientURI, PolicyURI, TOSURI                 string
	IDTokenAlg                                   string
	RefreshGrace                                 *time.Duration
	// Keys are its public keys; what cannot be read is left out.
	Keys []crypto.PublicKey
	// Origins are where it runs in a browser; none unless it is an enabled public
	// client.
	Origins []string
}

// none is the Optional of all apps that have nothing of it.
var none Optional

// Secret is one of an app, to compare with.
type Secret struct {
	ID string
	// Hash holds the bytes of that of storage.Secret.
	Hash      string
	expiresAt int64 // microseconds; zero: never
}

// Live tells whether s is accepted at now.
func (s *Secret) Live(now time.Time) bool { return s.expiresAt == 0 || now.UnixMicro() < s.expiresAt }

// Lookup finds apps; *View is one.
type Lookup interface {
	App(clientID string) (*App, bool)
}

// Prepare derives what requests need of a record.
func Prepare(record storage.App) *App {
	app := &App{
		ClientID: record.ClientID, OrgID: shared(record.OrgID), ExternalID: record.ExternalID, Name: record.Name,
		OwnerUserID: shared(record.OwnerUserID), OwnerOrgID: shared(record.OwnerOrgID), Audience: shared(record.Audience),
		TokenEndpointAuthMethod: shared(record.TokenEndpointAuthMethod), AccessTokenFormat: shared(record.AccessTokenFormat),
		AccessTokenAlg: shared(record.AccessTokenAlg), GrantTypes: sharedAll(record.GrantTypes), Secrets: secrets(record.Secrets),
		SecurityVersion: record.SecurityVersion, Enabled: record.Enabled, SkipUserConsent: record.SkipUserConsent,
		AssertionsWithoutExpiry: record.AssertionsWithoutExpiry,
		ContextScopes:           contextScopes(record.ContextScopes), OwnScopes: ownScopes(record.ContextScopes), Optional: optional(&record),
	}
	texts := []*string{&app.ClientID, &app.ExternalID, &app.Name}
	for i := range app.Secrets {
		texts = append(texts, &app.Secrets[i].ID, &app.Secrets[i].Hash)
	}
	together(texts...)
	return app
}

func optional(record *storage.App) *Optional {
	o := Optional{
		Scopes: sharedAll(record.Scopes), RedirectURIs: record.RedirectURIs, PostLogoutRedirectURIs: record.PostLogoutRedirectURIs,
		IdentityProviders: sharedAll(record.IdentityProviders), FederatedIdentities: record.FederatedIdentities,
		ClientURI: record.ClientURI, PolicyURI: record.PolicyURI, TOSURI: record.TOSURI, IDTokenAlg: shared(record.IDTokenAlg),
		RefreshGrace: record.RefreshGrace, Origins: origins(record),
	}
	for _, text := range record.PublicKeys {
		if key, err := assertion.ParsePublicKey([]byte(text)); err == nil {
			o.Keys = append(o.Keys, key)
		}
	}
	if reflect.DeepEqual(o, none) {
		return &none
	}
	return &o
}

func secrets(records []storage.Secret) []Secret {
	all := make([]Secret, len(records))
	for i, s := range records {
		all[i].ID, all[i].Hash = s.ID, string(s.Hash)
		if !s.ExpiresAt.IsZero() {
			all[i].expiresAt = s.ExpiresAt.UnixMicro()
		}
	}
	return all
}

func contextScopes(assigned []storage.ContextScope) (all []storage.ContextScope) {
	for _, s := range assigned {
		all = append(slices.Grow(all, len(assigned)-len(all)), storage.ContextScope{Scope: shared(s.Scope), Org: shared(s.Org), EnvID: shared(s.EnvID)})
	}
	return all
}

// onlyProfile are the scopes of most apps.
var onlyProfile = []string{oauth.ScopeProfile}

func ownScopes(assigned []storage.ContextScope) []string {
	own := make([]string, 0, len(assigned)+1)
	for _, s := range assigned {
		if !slices.Contains(own, s.Scope) {
			own = append(own, shared(s.Scope))
		}
	}
	if !slices.Contains(own, oauth.ScopeProfile) {
		own = append(own, oauth.ScopeProfile)
	}
	if slices.Equal(own, onlyProfile) {
		return onlyProfile
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
func (a *App) ActsForItself() bool { return actsForItself(a.GrantTypes) }

// Reasons why an app may do nothing at present.
var (
	ErrDisabled         = errors.New("the app is disabled")
	ErrOrganizationGone = errors.New("the app's organization is not in the configuration")
)
