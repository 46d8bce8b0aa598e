// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"
	"strings"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
)

// Client is a registration, as far as a spec has anything to say about it.
type Client struct {
	Name                   string
	GrantTypes             []string
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	Scopes                 []Scope
	Audience               string
	// PublicKeys are PEM, compared byte for byte.
	PublicKeys []string
	// ClientURI, PolicyURI and TOSURI are empty when there is none.
	ClientURI, PolicyURI, TOSURI string
	Enabled                      bool
	// IdentityProviders are those for whose users the client may speak by
	// assertions; AssertionsWithoutExpiry takes assertions that serve for ever;
	// SkipUserConsent asks nobody. They give power: what a spec leaves out is off.
	IdentityProviders       []string
	AssertionsWithoutExpiry bool
	SkipUserConsent         bool
	// Identities are the workloads whose tokens authenticate the client.
	Identities []Identity

	// Members of which the zero value leaves the choice to the server: a client
	// that is wanted says nothing about them, one on a server has its default.

	// AuthMethod is how the client authenticates at the token endpoint; empty: with
	// a secret, whichever way.
	AuthMethod string
	// AccessTokenFormat, AccessTokenAlg and IDTokenAlg are what its tokens are like.
	AccessTokenFormat, AccessTokenAlg, IDTokenAlg string
	// RefreshGrace is how many seconds a lost refresh token can be used again.
	RefreshGrace *int64
}

// Scope is a scope and the context it is assigned in; both contexts may be
// empty.
type Scope struct {
	Name, OrganizationID, EnvironmentID string
}

func (s Scope) String() string {
	switch {
	case s.EnvironmentID != "":
		return s.Name + " (organization " + orOwn(s.OrganizationID) + ", environment " + s.EnvironmentID + ")"
	case s.OrganizationID != "":
		return s.Name + " (organization " + s.OrganizationID + ")"
	}
	return s.Name
}

func orOwn(organization string) string {
	if organization == "" {
		return "of the app"
	}
	return organization
}

// Identity is a workload of an issuer, both as the server calls them.
type Identity struct {
	Issuer, Subject string
}

// serviceAccountPrefix is what subjects of ServiceAccounts begin with; a namespace
// and a name follow.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens
const serviceAccountPrefix = "system:serviceaccount:"

func (i Identity) String() string {
	return strings.TrimPrefix(i.Subject, serviceAccountPrefix) + " of " + i.Issuer
}

// isDefault tells whether it is the ServiceAccount of every Pod of some namespace
// that names none.
func (i Identity) isDefault() bool {
	return strings.HasPrefix(i.Subject, serviceAccountPrefix) && strings.HasSuffix(i.Subject, ":"+defaultServiceAccount)
}

const defaultServiceAccount = "default"

// ActsForItself tells whether the client uses client_credentials, and so has
// scopes with contexts.
func (c Client) ActsForItself() bool {
	return slices.Contains(c.GrantTypes, oauth.GrantClientCredentials)
}

// Method is how the client authenticates at the token endpoint, by its name on
// the wire.
func (c Client) Method() string { return cmp.Or(c.AuthMethod, oauth.AuthMethodSecretPost) }

// Public tells whether the client does not authenticate at all.
func (c Client) Public() bool { return c.AuthMethod == oauth.AuthMethodNone }

// HasSecret tells whether the client authenticates with a secret.
func (c Client) HasSecret() bool { return !c.Public() && c.AuthMethod != oauth.AuthMethodPrivateKeyJWT }

// Desired is the client that the spec asks for, with the defaults the spec
// leaves open. keys are the app's public keys, in the spec's order; workloadIssuer
// is what the server calls the app's cluster.
func Desired(app *v1alpha1.ConnectedApp, keys []string, workloadIssuer string) Client {
	spec := &app.Spec
	c := Client{
		Name:       spec.ClientName,
		GrantTypes: names(spec.GrantTypes), RedirectURIs: names(spec.RedirectURIs), PostLogoutRedirectURIs: names(spec.PostLogoutRedirectURIs),
		Audience: string(spec.Audience), PublicKeys: keys,
		ClientURI: string(spec.ClientURI), PolicyURI: string(spec.PolicyURI), TOSURI: string(spec.TOSURI),
		Enabled:           spec.Enabled == nil || *spec.Enabled,
		IdentityProviders: names(spec.IdentityProviders), AssertionsWithoutExpiry: isTrue(spec.AssertionsWithoutExpiry),
		SkipUserConsent: isTrue(spec.SkipUserConsent), AuthMethod: string(spec.TokenEndpointAuthMethod),
		AccessTokenFormat: string(spec.AccessTokenFormat), AccessTokenAlg: string(spec.AccessTokenSigningAlg),
		IDTokenAlg: string(spec.IDTokenSigningAlg), RefreshGrace: seconds(spec.RefreshGraceSeconds),
	}
	if c.Name == "" {
		c.Name = app.Namespace + "/" + app.Name
	}
	if c.Audience == "" {
		c.Audience = string(v1alpha1.AudienceInternal)
	}
	switch {
	case spec.ClientType == v1alpha1.ClientPublic:
		c.AuthMethod = oauth.AuthMethodNone
	case !app.CredentialsType().HasClientSecret():
		c.AuthMethod = oauth.AuthMethodPrivateKeyJWT
	}
	c.Identities = identities(app, workloadIssuer)
	for _, s := range spec.Scopes {
		c.Scopes = append(c.Scopes, Scope{Name: s.Scope, OrganizationID: s.OrganizationID, EnvironmentID: s.EnvironmentID})
	}
	c.Scopes = NormalScopes(c, c.Scopes)
	return c
}

// identities are the app's ServiceAccounts: nobody can name one of another
// namespace.
func identities(app *v1alpha1.ConnectedApp, issuer string) []Identity {
	if app.CredentialsType() != v1alpha1.CredentialsServiceAccount {
		return nil
	}
	var list []Identity
	for _, account := range app.Spec.Credentials.ServiceAccounts {
		list = append(list, Identity{Issuer: issuer, Subject: serviceAccountPrefix + app.Namespace + ":" + account.Name})
	}
	return list
}

// NormalScopes are the scopes of c without repetitions, and without the profile
// that every client acting for itself has: servers list it or do not, and it
// cannot be taken away.
func NormalScopes(c Client, scopes []Scope) []Scope {
	var normal []Scope
	seen := make(map[Scope]bool, len(scopes))
	for _, s := range scopes {
		if seen[s] || c.ActsForItself() && s == (Scope{Name: oauth.ScopeProfile}) {
			continue
		}
		seen[s] = true
		normal = append(normal, s)
	}
	return normal
}

// TokenScopes are the names of the scopes of the spec that a client has, in the
// spec's order: those that its tokens may have.
func TokenScopes(app *v1alpha1.ConnectedApp, client Client) []string {
	var names []string
	for _, assigned := range app.Spec.Scopes {
		wanted := Scope{Name: assigned.Scope, OrganizationID: assigned.OrganizationID, EnvironmentID: assigned.EnvironmentID}
		// What is implied is not in the registration.
		implied := len(NormalScopes(client, []Scope{wanted})) == 0
		if (implied || slices.Contains(client.Scopes, wanted)) && !slices.Contains(names, wanted.Name) {
			names = append(names, wanted.Name)
		}
	}
	return names
}

func isTrue(b *bool) bool { return b != nil && *b }

func seconds(n *int32) *int64 {
	if n == nil {
		return nil
	}
	return new(int64(*n))
}

func names[T ~string](list []T) []string {
	var strings []string
	for _, v := range list {
		strings = append(strings, string(v))
	}
	return strings
}
