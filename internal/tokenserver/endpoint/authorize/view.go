// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"net/url"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
)

// AppView is the app as a person sees it.
func AppView(dir *directory.Directory, app *clients.App) pages.App {
	v := pages.App{Name: app.Name, Namespace: namespace(app.ExternalID), ClientURI: app.ClientURI, PolicyURI: app.PolicyURI, TOSURI: app.TOSURI}
	if org, ok := dir.Organization(app.OrgID); ok {
		v.Organization = org.Name
	}
	return v
}

// namespace is where the app was declared, when its external id is one of the
// manager's: cluster id, namespace, name and UID with slashes between.
func namespace(externalID string) string {
	parts := strings.Split(externalID, "/")
	if len(parts) != 4 || slices.Contains(parts, "") {
		return ""
	}
	return parts[1]
}

// AccountView is the user as a person sees it.
func AccountView(dir *directory.Directory, u *directory.User) pages.Account {
	v := pages.Account{Name: strings.TrimSpace(u.FirstName + " " + u.LastName), Username: u.Username}
	if org, ok := dir.Organization(u.OrganizationID); ok {
		v.Organization = org.Name
	}
	return v
}

// ScopeView is a scope in words.
func ScopeView(name string) pages.Scope {
	v := pages.Scope{Name: name, Title: name, Wide: scopes.NeedsAdministrator(name)}
	if known, ok := scopes.Lookup(name); ok {
		v.Title, v.Description = known.DisplayName, known.Description
	}
	return v
}

// groups are the asked scopes by product. openid cannot be refused, nor can the
// only scope there is: refusing it is refusing the app.
func groups(text pages.Text, asked, refused []string) []pages.ScopeGroup {
	var out []pages.ScopeGroup
	for _, name := range asked {
		title := text.Get("consent.other")
		if known, ok := scopes.Lookup(name); ok {
			title = known.ProductLabel
		}
		view := ScopeView(name)
		view.Required, view.Refused = required(name, asked), slices.Contains(refused, name)
		i := slices.IndexFunc(out, func(g pages.ScopeGroup) bool { return g.Title == title })
		if i < 0 {
			out, i = append(out, pages.ScopeGroup{Title: title}), len(out)
		}
		out[i].Scopes = append(out[i].Scopes, view)
	}
	return out
}

func required(name string, asked []string) bool { return name == oauth.ScopeOpenID || len(asked) == 1 }

// destination says where a redirect URI leads, short enough to be read.
func destination(text pages.Text, uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return uri
	case u.Scheme == "https":
		return u.Host
	case u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost":
		return text.Get("consent.this_device", u.Hostname())
	}
	return text.Get("consent.app_on_device", u.Scheme)
}
