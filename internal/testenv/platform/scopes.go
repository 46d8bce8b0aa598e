// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"encoding/json"
	"net/http"
	"slices"

	"connectedapps.dev/operator/internal/oauth"
)

// catalogued are some names of contract section 8.
var catalogued = []string{
	oauth.ScopeFull, oauth.ScopeReadFull, oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeOfflineAccess,
	"create:environment", "edit:environment", "manage:api_query", "read:applications", "read:audit_logs", "read:exchange", "read:orgconnapps",
	"read:organization", "read:orgusers", "read:servers", "read:stats", "view:clients", "view:environment", "view:metering", "view:monitoring",
}

// forUsers are refused to an app that acts for itself.
var forUsers = []string{oauth.ScopeOpenID, oauth.ScopeEmail, oauth.ScopeOfflineAccess}

func catalogueNames() []string { return catalogued }

func catalogue(w http.ResponseWriter, _ *http.Request) {
	entries := make([]oauth.CatalogScope, len(catalogued))
	for i, name := range catalogued {
		entries[i] = oauth.CatalogScope{Scope: name, DisplayName: name, Description: name, ProductLabel: "Access Management"}
	}
	answer(w, http.StatusOK, entries)
}

func (p *Platform) scopes(w http.ResponseWriter, r *http.Request) {
	a := p.find(w, r)
	if a == nil {
		return
	}
	all := []oauth.ContextScope{}
	if a.actsForItself() {
		all = append(all, oauth.ContextScope{Scope: oauth.ScopeProfile})
		all = append(all, a.contexts...)
	}
	offset, limit, ok := page(r.URL.Query())
	if !ok {
		refuse(w, http.StatusBadRequest, "offset and limit must be numbers that are not negative")
		return
	}
	from := min(offset, len(all))
	answer(w, http.StatusOK, oauth.List[oauth.ContextScope]{Data: all[from:min(from+limit, len(all))], Total: len(all)})
}

func (p *Platform) replaceScopes(w http.ResponseWriter, r *http.Request) {
	p.changeScopes(w, r, func(_, sent []oauth.ContextScope) []oauth.ContextScope { return merge(nil, sent) })
}

func (p *Platform) addScopes(w http.ResponseWriter, r *http.Request) {
	p.changeScopes(w, r, merge)
}

func (p *Platform) removeScopes(w http.ResponseWriter, r *http.Request) {
	p.changeScopes(w, r, func(had, sent []oauth.ContextScope) []oauth.ContextScope {
		return slices.DeleteFunc(slices.Clone(had), func(s oauth.ContextScope) bool { return slices.Contains(sent, s) })
	})
}

func (p *Platform) changeScopes(w http.ResponseWriter, r *http.Request, change func(had, sent []oauth.ContextScope) []oauth.ContextScope) {
	a := p.find(w, r)
	var body oauth.ScopesRequest
	if a == nil || !decode(w, r, &body) {
		return
	}
	if !a.actsForItself() {
		refuse(w, http.StatusBadRequest, "only an app with client_credentials has scopes with contexts")
		return
	}
	for _, s := range body.Scopes {
		if s.Scope == "" || slices.Contains(forUsers, s.Scope) {
			refuse(w, http.StatusBadRequest, "scope "+s.Scope+" cannot be assigned to an app with client_credentials")
			return
		}
	}
	a.contexts = change(a.contexts, body.Scopes)
	w.WriteHeader(http.StatusNoContent)
}

// merge adds scopes that are not there yet; profile always is.
func merge(had, sent []oauth.ContextScope) []oauth.ContextScope {
	all := slices.Clone(had)
	for _, s := range sent {
		if s.Scope != oauth.ScopeProfile && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// namesOf and contextsOf read scopes that are sent as names by most clients and
// as objects by one (contract section 3.2).
func namesOf(sent []json.RawMessage) []string {
	names := []string{}
	for _, s := range contextsOf(sent) {
		names = append(names, s.Scope)
	}
	return names
}

func contextsOf(sent []json.RawMessage) []oauth.ContextScope {
	var all []oauth.ContextScope
	for _, raw := range sent {
		var s oauth.ContextScope
		if json.Unmarshal(raw, &s.Scope) == nil || json.Unmarshal(raw, &s) == nil {
			all = append(all, s)
		}
	}
	return all
}
