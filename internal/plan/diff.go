// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Change is one field of a registration that is not as it should be. Field is
// its name in the spec.
type Change struct {
	Field, Old, New string
}

func (c Change) String() string {
	return fmt.Sprintf("%s: %s, should be %s", c.Field, c.Old, c.New)
}

// Names of the fields in changes, as the spec calls them.
const (
	FieldClientName   = "clientName"
	FieldClientType   = "clientType"
	FieldGrantTypes   = "grantTypes"
	FieldRedirectURIs = "redirectURIs"
	FieldScopes       = "scopes"
	FieldAudience     = "audience"
	FieldPublicKeys   = "publicKeys"
	FieldClientURI    = "clientURI"
	FieldPolicyURI    = "policyURI"
	FieldTOSURI       = "tosURI"
	FieldEnabled      = "enabled"
)

// Diff lists the fields in which live differs from want, in a fixed order.
func Diff(live, want Client) []Change {
	var d differ
	d.text(FieldClientName, live.Name, want.Name)
	d.text(FieldClientType, clientType(live), clientType(want))
	d.set(FieldGrantTypes, live.GrantTypes, want.GrantTypes)
	d.uris(FieldRedirectURIs, live.RedirectURIs, want.RedirectURIs)
	d.list(FieldScopes, texts(NormalScopes(live, live.Scopes)), texts(NormalScopes(want, want.Scopes)))
	d.text(FieldAudience, live.Audience, want.Audience)
	d.list(FieldPublicKeys, fingerprints(live.PublicKeys), fingerprints(want.PublicKeys))
	d.text(FieldClientURI, live.ClientURI, want.ClientURI)
	d.text(FieldPolicyURI, live.PolicyURI, want.PolicyURI)
	d.text(FieldTOSURI, live.TOSURI, want.TOSURI)
	d.text(FieldEnabled, strconv.FormatBool(live.Enabled), strconv.FormatBool(want.Enabled))
	return d.changes
}

type differ struct{ changes []Change }

func (d *differ) text(field, live, want string) {
	if live != want {
		d.changes = append(d.changes, Change{field, orNone(live), orNone(want)})
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

// clientType puts the ways to authenticate with a secret into one: a server's
// choice between them is nothing a spec speaks of.
func clientType(c Client) string {
	if c.HasSecret() {
		return "Confidential"
	}
	return "Public"
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func texts(scopes []Scope) []string {
	list := make([]string, len(scopes))
	for i, s := range scopes {
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
