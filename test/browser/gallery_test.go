// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/pages"
)

var screenshots = flag.String("screenshots", "", "folder that TestScreenshots writes the pictures of the documentation to")

// pictures are those of the documentation.
var pictures = []string{"sign-in-desktop-light", "consent-desktop-light", "consent-phone-dark", "authorized-apps-desktop-dark", "error-phone-light"}

var (
	gitProxy = pages.App{Name: "GitProxy", Organization: "Acme Payments", Namespace: "payments", ClientURI: "https://gitproxy.example.com",
		PolicyURI: "https://gitproxy.example.com/privacy", TOSURI: "https://gitproxy.example.com/terms"}
	ada = pages.Account{Name: "Ada Lovelace", Username: "ada", Organization: "Acme Payments"}

	profileScope = pages.Scope{Name: "profile", Title: "Read your profile", Description: "Your name, username and organization."}
	offlineScope = pages.Scope{Name: "offline_access", Title: "Stay connected while you are away",
		Description: "Keep the access below without asking you to sign in again."}
	environmentScope = pages.Scope{Name: "view:environment", Title: "View environments", Description: "See the environments of an organization."}
	openidScope      = pages.Scope{Name: "openid", Title: "Know who you are", Description: "Your username and a permanent id.", Required: true}
	fullScope        = pages.Scope{Name: "full", Title: "Do everything you can do",
		Description: "Read and change whatever your own account can.", Wide: true}
)

// gallery is every page in each of its states.
var gallery = map[string]func(r *pages.Renderer, w http.ResponseWriter){
	"sign-in": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignIn(w, http.StatusOK, pages.SignIn{App: &gitProxy})
	},
	"sign-in-plain": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignIn(w, http.StatusOK, pages.SignIn{Username: "ada"})
	},
	"sign-in-error": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignIn(w, http.StatusOK, pages.SignIn{App: &gitProxy, Username: "ada",
			Errors: []pages.FieldError{{Field: "password", Message: pages.English.Get("signin.invalid")}}})
	},
	"sign-in-choose": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignIn(w, http.StatusOK, pages.SignIn{App: &gitProxy, Account: &ada})
	},
	"sign-in-again": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignIn(w, http.StatusOK, pages.SignIn{App: &gitProxy, Account: &ada, Reauthenticate: true, Username: "ada"})
	},
	"consent": func(r *pages.Renderer, w http.ResponseWriter) {
		r.Consent(w, http.StatusOK, pages.Consent{App: gitProxy, Account: ada, RedirectHost: "gitproxy.example.com", SwitchURL: "/switch",
			Groups: []pages.ScopeGroup{
				{Title: "Your account", Scopes: []pages.Scope{openidScope, profileScope, offlineScope}},
				{Title: "Access Management", Scopes: []pages.Scope{environmentScope}}}})
	},
	"consent-wide": func(r *pages.Renderer, w http.ResponseWriter) {
		app := pages.App{Name: "Deploy CLI <script>", Organization: "Other Company"}
		r.Consent(w, http.StatusOK, pages.Consent{App: app, Account: ada, Foreign: true, Device: true, RedirectHost: "this device (127.0.0.1)",
			Notice: pages.English.Get("consent.expired"), SwitchURL: "/switch",
			Groups: []pages.ScopeGroup{{Title: "Your account", Scopes: []pages.Scope{fullScope}}}})
	},
	"consent-long": func(r *pages.Renderer, w http.ResponseWriter) {
		long := strings.Repeat("verylongword", 12)
		var many []pages.Scope
		for range 40 {
			many = append(many, pages.Scope{Name: long, Title: long, Description: strings.Repeat("words ", 40)})
		}
		r.Consent(w, http.StatusOK, pages.Consent{App: pages.App{Name: long, Organization: long, Namespace: long}, Account: pages.Account{Name: long,
			Organization: long}, RedirectHost: long, SwitchURL: "/switch", Groups: []pages.ScopeGroup{{Title: long, Scopes: many}}})
	},
	"authorized-apps": func(r *pages.Renderer, w http.ResponseWriter) {
		since := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
		r.AuthorizedApps(w, pages.AuthorizedApps{Account: ada, Apps: []pages.AuthorizedApp{
			{App: gitProxy, ClientID: "1", Since: since, Scopes: []pages.Scope{profileScope, offlineScope}},
			{App: pages.App{Name: "Deploy CLI", Organization: "Acme Payments"}, ClientID: "2", Since: since, Disabled: true,
				Scopes: []pages.Scope{fullScope}}}})
	},
	"authorized-apps-revoked": func(r *pages.Renderer, w http.ResponseWriter) {
		r.AuthorizedApps(w, pages.AuthorizedApps{Account: ada, Revoked: true})
	},
	"sign-out": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignOut(w, pages.SignOut{App: &gitProxy, Account: ada})
	},
	"signed-out": func(r *pages.Renderer, w http.ResponseWriter) { r.SignedOut(w) },
	"error": func(r *pages.Renderer, w http.ResponseWriter) {
		r.Error(w, http.StatusOK, pages.Error{Kind: "redirect", Code: "invalid_request",
			Detail: "redirect_uri is not one of those registered for the app", Reference: "7f3a9c52"})
	},
}

// TestScreenshots looks at every page in light and dark, on a desktop and a phone.
func TestScreenshots(t *testing.T) {
	renderer := pages.New()
	mux := http.NewServeMux()
	renderer.Mount(mux)
	for name, write := range gallery {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, _ *http.Request) { write(renderer, w) })
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, s := range screens {
		t.Run(s.name, func(t *testing.T) {
			tab := newTab(t, s)
			for name := range gallery {
				tab.open(server.URL + "/" + name)
				tab.requireAccessible()
				require.Zero(t, evaluate[int](tab, `document.documentElement.scrollWidth - document.documentElement.clientWidth`), "%s does not scroll sideways", name)
				if picture := name + "-" + s.name; *screenshots != "" && slices.Contains(pictures, picture) {
					require.NoError(t, os.WriteFile(filepath.Join(*screenshots, picture+".png"), tab.picture(), 0o600))
				}
			}
		})
	}
}
