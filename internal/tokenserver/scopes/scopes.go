// SPDX-License-Identifier: Apache-2.0

package scopes

import (
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// MaxLength is the longest accepted scope name, in bytes.
const MaxLength = 128

// Scope describes one scope name to people.
type Scope struct {
	// Name is the name on the wire, such as view:environment.
	Name string
	// DisplayName is a short title.
	DisplayName string
	// Description says in one sentence what the scope allows.
	Description string
	// ProductLabel is the product whose resources it concerns.
	ProductLabel string
}

// Catalog returns every described scope, the plain ones first. The caller may
// change the slice.
func Catalog() []Scope { return slices.Clone(catalog) }

var byName = func() map[string]Scope {
	m := make(map[string]Scope, len(catalog))
	for _, s := range catalog {
		m[s.Name] = s
	}
	return m
}()

// Lookup returns the description of a name, or false for a name that is
// well-formed but not in the catalogue.
func Lookup(name string) (Scope, bool) {
	s, ok := byName[name]
	return s, ok
}

// WellFormed tells whether name may be assigned to an app: the characters of a
// scope-token (https://www.rfc-editor.org/rfc/rfc6749#section-3.3), at most
// MaxLength of them. Names outside the catalogue are welcome: the platform's
// list grows.
func WellFormed(name string) bool {
	if name == "" || len(name) > MaxLength {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Set is names to look up: an app may have a thousand, and a request may name as
// many, so that nobody compares each with each.
type Set map[string]bool

// SetOf makes a Set of a list.
func SetOf(list []string) Set {
	set := make(Set, len(list))
	for _, name := range list {
		set[name] = true
	}
	return set
}

// Within returns what of list is among allowed, in the order of list; nil when
// nothing is.
func Within(list, allowed []string) []string {
	among := Among(allowed)
	var kept []string
	for _, name := range list {
		if among(name) {
			kept = append(kept, name)
		}
	}
	return kept
}

// few names are compared in less time than it takes to make a set of them.
const few = 8

// Among looks things up in list, of which there may be many.
func Among[T comparable](list []T) func(T) bool {
	if len(list) <= few {
		return func(item T) bool { return slices.Contains(list, item) }
	}
	set := make(map[T]struct{}, len(list))
	for _, item := range list {
		set[item] = struct{}{}
	}
	return func(item T) bool { _, found := set[item]; return found }
}

// NeedsUser tells whether name makes sense only for an app that acts for a
// user, so that a client_credentials app is refused it.
func NeedsUser(name string) bool {
	return name == oauth.ScopeOpenID || name == oauth.ScopeEmail || name == oauth.ScopeGroups || name == oauth.ScopeOfflineAccess
}

// Honoured tells whether the token server itself grants something to a
// client_credentials token that carries name.
func Honoured(name string) bool {
	switch name {
	case oauth.ScopeFull, oauth.ScopeReadFull, oauth.ScopeManageConnApps, oauth.ScopeReadConnectedApps, oauth.ScopeIntrospectTokens:
		return true
	}
	return false
}

// AlwaysAsked tells whether nobody but the user may allow name for the user: it
// reaches far, or outlives the user's presence (tokenserver.md 11).
func AlwaysAsked(name string) bool {
	return name == oauth.ScopeFull || name == oauth.ScopeReadFull || name == oauth.ScopeOfflineAccess || strings.HasPrefix(name, "manage:")
}

// NeedsAdministrator tells whether only an administrator who is signed in as a
// user, or the server's configuration, may give name to a client_credentials
// app.
func NeedsAdministrator(name string) bool {
	return name == oauth.ScopeFull || name == oauth.ScopeReadFull || name == oauth.ScopeManageConnApps
}
