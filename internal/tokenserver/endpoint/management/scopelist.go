// SPDX-License-Identifier: Apache-2.0

package management

import (
	"maps"
	"slices"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const maxScopes = 1000

// readScopes takes scopes as strings or as objects with a context and removes
// repetitions; a scope with another context is another scope.
func readScopes(path string, v any) ([]storage.ContextScope, error) {
	list, err := readList(path, v, "strings or objects", maxScopes, readScope)
	if err != nil {
		return nil, err
	}
	return unionScopes(nil, list), nil
}

var scopeMembers = foldedNames("scope", "context_params")

func readScope(path string, v any) (storage.ContextScope, error) {
	switch v := v.(type) {
	case string:
		return storage.ContextScope{Scope: v}, checkScopeName(path, v)
	case map[string]any:
		return readScopeObject(path, v)
	}
	return storage.ContextScope{}, wrongType(path, "a string or an object", v)
}

func readScopeObject(path string, object map[string]any) (s storage.ContextScope, err error) {
	if err := scopeMembers.refuse(path, object); err != nil {
		return s, err
	}
	if s.Scope, err = readString(join(path, "scope"), object["scope"]); err != nil {
		return s, err
	}
	if err := checkScopeName(join(path, "scope"), s.Scope); err != nil {
		return s, err
	}
	path = join(path, "context_params")
	context, ok := object["context_params"].(map[string]any)
	if !ok && object["context_params"] != nil {
		return s, wrongType(path, "an object", object["context_params"])
	}
	// An unknown context cannot be ignored like other unknown members: that
	// would widen what the scope allows.
	for _, name := range slices.Sorted(maps.Keys(context)) {
		if name != "org" && name != "envId" {
			return s, httpx.BadRequest("%s: unknown context %q; known are org and envId", path, shorten(name))
		}
	}
	if s.Org, err = orNull(line(maxIdentifierBytes))(join(path, "org"), context["org"]); err != nil {
		return s, err
	}
	s.EnvID, err = orNull(line(maxIdentifierBytes))(join(path, "envId"), context["envId"])
	return s, err
}

func checkScopeName(path, name string) error {
	if !scopes.WellFormed(name) {
		return httpx.BadRequest("%s: %q is not a scope name: 1 to %d printable ASCII characters without space, quote and backslash",
			path, shorten(name), scopes.MaxLength)
	}
	return nil
}

// actsForItself tells the two kinds of app apart: on its own behalf, with
// scopes in contexts, or on behalf of a user, with plain scope names.
func actsForItself(app *storage.App) bool {
	return slices.Contains(app.GrantTypes, oauth.GrantClientCredentials)
}

// scopesOf is what is assigned to an app of either kind.
func scopesOf(app *storage.App) []storage.ContextScope {
	if actsForItself(app) {
		return app.ContextScopes
	}
	list := make([]storage.ContextScope, len(app.Scopes))
	for i, name := range app.Scopes {
		list[i].Scope = name
	}
	return list
}

// listedScopes is what GET …/scopes shows: profile comes with every app that
// acts for itself and stays whatever is put or deleted.
func listedScopes(app *storage.App) []storage.ContextScope {
	list := scopesOf(app)
	implicit := storage.ContextScope{Scope: oauth.ScopeProfile}
	if actsForItself(app) && !slices.Contains(list, implicit) {
		list = append([]storage.ContextScope{implicit}, list...)
	}
	return list
}

// assignScopes gives the app exactly list. An app that acts for a user keeps
// names alone.
func assignScopes(app *storage.App, list []storage.ContextScope) {
	app.Scopes, app.ContextScopes = []string{}, []storage.ContextScope{}
	if actsForItself(app) {
		app.ContextScopes = list
		return
	}
	app.Scopes = scopeNames(list)
}

// scopeNames are the names of the scopes without a context, in their order.
func scopeNames(list []storage.ContextScope) []string {
	names := []string{}
	for _, s := range list {
		if s.Org == "" && s.EnvID == "" {
			names = append(names, s.Scope)
		}
	}
	return names
}

// unionScopes appends to list what it lacks.
func unionScopes(list, added []storage.ContextScope) []storage.ContextScope {
	union := slices.Clone(list)
	seen := make(map[storage.ContextScope]bool, len(list)+len(added))
	for _, s := range list {
		seen[s] = true
	}
	for _, s := range added {
		if !seen[s] {
			seen[s] = true
			union = append(union, s)
		}
	}
	return union
}

// withoutScopes removes exact matches of scope and context.
func withoutScopes(list, removed []storage.ContextScope) []storage.ContextScope {
	gone := make(map[storage.ContextScope]bool, len(removed))
	for _, s := range removed {
		gone[s] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(s storage.ContextScope) bool { return gone[s] })
}

// patchedScopes is what a `scopes` member of a PATCH makes of an app that acts
// for itself. The empty list changes nothing: a client that keeps the scopes
// in the sub-resource sends it with every PATCH. Plain names replace the scopes
// without context, which are what the member shows; objects with a context
// replace all.
func patchedScopes(current, sent []storage.ContextScope) []storage.ContextScope {
	names := scopeNames(sent)
	switch {
	case len(sent) == 0 || slices.Equal(names, scopeNames(current)) && len(names) == len(sent):
		return current
	case len(names) < len(sent):
		return sent
	}
	inContext := slices.DeleteFunc(slices.Clone(current), func(s storage.ContextScope) bool { return s.Org == "" && s.EnvID == "" })
	return append(inContext, sent...)
}
