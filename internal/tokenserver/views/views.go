// SPDX-License-Identifier: Apache-2.0

// Package views puts what the server knows of apps, accounts and scopes into the
// words and shapes that pages show. It renders nothing.
package views

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

// App is the app as a person sees it.
func App(dir *directory.Directory, app *clients.App) pages.App {
	v := pages.App{Name: app.Name, Namespace: namespace(app.ExternalID), ClientURI: app.ClientURI, PolicyURI: app.PolicyURI, TOSURI: app.TOSURI}
	if org, ok := dir.Organization(app.OrgID); ok {
		v.Organization, v.Brand = org.Name, brand(org)
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

// Account is the user as a person sees it.
func Account(dir *directory.Directory, u *directory.User) pages.Account {
	v := pages.Account{Name: strings.TrimSpace(u.FirstName + " " + u.LastName), Username: u.Username}
	if org, ok := dir.Organization(u.OrganizationID); ok {
		v.Organization = org.Name
	}
	return v
}

// Scope is a scope in words.
func Scope(text pages.Text, name string) pages.Scope {
	v := pages.Scope{Name: name, Title: name, Description: text.Get("consent.undescribed"), Wide: scopes.NeedsAdministrator(name)}
	if known, ok := scopes.Lookup(name); ok {
		v.Title, v.Description = known.DisplayName, known.Description
	}
	return v
}

// Groups are the asked scopes by product. openid cannot be refused, nor can the
// only scope there is: refusing it is refusing the app.
func Groups(text pages.Text, asked, refused []string) []pages.ScopeGroup {
	var out []pages.ScopeGroup
	for _, name := range asked {
		title := groupTitle(text, name)
		view := Scope(text, name)
		view.Required, view.Refused = Required(name, asked), slices.Contains(refused, name)
		i := slices.IndexFunc(out, func(g pages.ScopeGroup) bool { return g.Title == title })
		if i < 0 {
			out, i = append(out, pages.ScopeGroup{Title: title}), len(out)
		}
		out[i].Scopes = append(out[i].Scopes, view)
	}
	return out
}

// groupTitle is the product a scope belongs to; people know no product by the
// name of a protocol.
func groupTitle(text pages.Text, name string) string {
	known, ok := scopes.Lookup(name)
	switch {
	case !ok:
		return text.Get("consent.other")
	case known.ProductLabel == "OpenID":
		return text.Get("consent.account")
	}
	return known.ProductLabel
}

// Required tells whether a scope among those asked cannot be refused by itself.
func Required(name string, asked []string) bool { return name == oauth.ScopeOpenID || len(asked) == 1 }

// Destination says where a redirect URI leads, short enough to be read.
func Destination(text pages.Text, uri string) string {
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
