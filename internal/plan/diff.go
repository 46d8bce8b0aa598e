// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Change is one field of a registration that is not as it should be. Field is
// its name in the spec.
type Change struct {
	Field, Old, New string
}

func (c Change) String() string {
	return fmt.Sprintf("%s: %s, should be %s", c.Field, c.Old, c.New)
}

// MayBeRefused tells whether a server that takes every other change may refuse
// this one, whoever asks: consent is switched off for users by administrators
// alone on some. It belongs into a request of its own, after all others.
func (c Change) MayBeRefused() bool { return c.Field == FieldSkipUserConsent && c.New == "true" }

// Names of the fields in changes, as the spec calls them.
const (
	FieldClientName              = "clientName"
	FieldClientType              = "clientType"
	FieldTokenEndpointAuthMethod = "tokenEndpointAuthMethod"
	FieldGrantTypes              = "grantTypes"
	FieldRedirectURIs            = "redirectURIs"
	FieldPostLogoutRedirectURIs  = "postLogoutRedirectURIs"
	FieldScopes                  = "scopes"
	FieldAudience                = "audience"
	FieldPublicKeys              = "publicKeys"
	FieldIdentityProviders       = "identityProviders"
	FieldServiceAccounts         = "credentials.serviceAccounts"
	FieldAssertionsWithoutExpiry = "assertionsWithoutExpiry"
	FieldSkipUserConsent         = "skipUserConsent"
	FieldAccessTokenFormat       = "accessTokenFormat"
	FieldAccessTokenSigningAlg   = "accessTokenSigningAlg"
	FieldIDTokenSigningAlg       = "idTokenSigningAlg"
	FieldRefreshGraceSeconds     = "refreshGraceSeconds"
	FieldClientURI               = "clientURI"
	FieldPolicyURI               = "policyURI"
	FieldTOSURI                  = "tosURI"
	FieldEnabled                 = "enabled"
)

// Diff lists the fields in which live differs from want, in a fixed order. What
// want leaves to the server is no difference, whatever live has.
func Diff(live, want Client) []Change {
	var d differ
	d.text(FieldClientName, live.Name, want.Name)
	d.text(FieldClientType, clientType(live), clientType(want))
	d.authMethod(live, want)
	d.set(FieldGrantTypes, live.GrantTypes, want.GrantTypes)
	d.uris(FieldRedirectURIs, live.RedirectURIs, want.RedirectURIs)
	d.uris(FieldPostLogoutRedirectURIs, live.PostLogoutRedirectURIs, want.PostLogoutRedirectURIs)
	d.list(FieldScopes, texts(NormalScopes(live, live.Scopes)), texts(NormalScopes(want, want.Scopes)))
	d.text(FieldAudience, live.Audience, want.Audience)
	d.list(FieldPublicKeys, fingerprints(live.PublicKeys), fingerprints(want.PublicKeys))
	d.set(FieldIdentityProviders, live.IdentityProviders, want.IdentityProviders)
	d.set(FieldServiceAccounts, texts(live.Identities), texts(want.Identities))
	d.flag(FieldAssertionsWithoutExpiry, live.AssertionsWithoutExpiry, want.AssertionsWithoutExpiry)
	d.flag(FieldSkipUserConsent, live.SkipUserConsent, want.SkipUserConsent)
	d.choice(FieldAccessTokenFormat, live.AccessTokenFormat, want.AccessTokenFormat)
	d.choice(FieldAccessTokenSigningAlg, live.AccessTokenAlg, want.AccessTokenAlg)
	d.choice(FieldIDTokenSigningAlg, live.IDTokenAlg, want.IDTokenAlg)
	d.choice(FieldRefreshGraceSeconds, number(live.RefreshGrace), number(want.RefreshGrace))
	d.text(FieldClientURI, live.ClientURI, want.ClientURI)
	d.text(FieldPolicyURI, live.PolicyURI, want.PolicyURI)
	d.text(FieldTOSURI, live.TOSURI, want.TOSURI)
	d.flag(FieldEnabled, live.Enabled, want.Enabled)
	return d.changes
}

type differ struct{ changes []Change }

func (d *differ) text(field, live, want string) {
	if live != want {
		d.changes = append(d.changes, Change{field, orNone(live), orNone(want)})
	}
}

func (d *differ) flag(field string, live, want bool) {
	d.text(field, strconv.FormatBool(live), strconv.FormatBool(want))
}

// choice compares what the server decides when want is empty.
func (d *differ) choice(field, live, want string) {
	if want != "" && live != want {
		d.changes = append(d.changes, Change{field, cmp.Or(live, "the server's default"), want})
	}
}

// authMethod compares how clients of one type authenticate; another type is a
// difference of its own. A client that leaves it open takes either way with a
// secret, which are the same to servers, but not a key.
func (d *differ) authMethod(live, want Client) {
	open := want.AuthMethod == "" && live.HasSecret()
	if live.Public() == want.Public() && !open {
		d.text(FieldTokenEndpointAuthMethod, live.Method(), want.Method())
	}
}

// list compares lists whose order counts.
func (d *differ) list(field string, live, want []string) {
	if !slices.Equal(live, want) {
		d.text(field, shown(live), shown(want))
	}
}

// set compares lists whose order does not.
func (d *differ) set(field string, live, want []string) {
	live, want = sorted(live), sorted(want)
	d.list(field, live, want)
}

// uris compares redirect URIs as servers do: exactly, but an empty path is "/",
// which some of them write (RFC 3986 section 6.2.3).
func (d *differ) uris(field string, live, want []string) {
	if !slices.Equal(sorted(withPaths(live)), sorted(withPaths(want))) {
		d.text(field, shown(sorted(live)), shown(sorted(want)))
	}
}

// withPaths writes the path "/" where a URI has none after its host.
func withPaths(uris []string) []string {
	list := make([]string, len(uris))
	for i, uri := range uris {
		list[i] = uri
		scheme, rest, found := strings.Cut(uri, "://")
		if end := strings.IndexAny(rest+"?", "/?#"); found && rest != "" && !strings.HasPrefix(rest[end:], "/") {
			list[i] = scheme + "://" + rest[:end] + "/" + rest[end:]
		}
	}
	return list
}

func clientType(c Client) string {
	if c.Public() {
		return string(v1alpha1.ClientPublic)
	}
	return string(v1alpha1.ClientConfidential)
}

func number(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func texts[T fmt.Stringer](items []T) []string {
	list := make([]string, len(items))
	for i, s := range items {
		list[i] = s.String()
	}
	return list
}

// fingerprints stand for keys in messages.
func fingerprints(keys []string) []string {
	list := make([]string, len(keys))
	for i, key := range keys {
		sum := sha256.Sum256([]byte(key))
		list[i] = "SHA-256 " + hex.EncodeToString(sum[:6])
	}
	return list
}

func shown(list []string) string {
	const most = 20
	if len(list) > most {
		return fmt.Sprintf("[%s and %d more]", strings.Join(list[:most], ", "), len(list)-most)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
