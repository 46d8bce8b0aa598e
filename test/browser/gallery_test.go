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

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/views"
)

var screenshots = flag.String("screenshots", "", "folder that TestScreenshots writes the pictures of the documentation to")

// pictures are those of the documentation.
var pictures = []string{"sign-in-desktop-light", "consent-desktop-light", "consent-phone-dark", "authorized-apps-desktop-dark", "error-phone-light",
	"sign-in-branded-desktop-light"}

var (
	gitProxy = pages.App{Name: "GitProxy", Organization: "Acme Payments", Namespace: "payments", ClientURI: "https://gitproxy.example.com",
		PolicyURI: "https://gitproxy.example.com/privacy", TOSURI: "https://gitproxy.example.com/terms"}
	ada = pages.Account{Name: "Ada Lovelace", Username: "ada", Organization: "Acme Payments"}

	// bank is an organization with a look of its own.
	bank = directory.NewLive(directory.New([]directory.Organization{{ID: "bank", Name: "Meridian Bank", Branding: directory.Branding{
		Name: "Meridian Bank", AccentColor: "#00695c", HelpContact: "help@meridian.example", Logo: &directory.Logo{Type: "image/svg+xml", Hash: "0a1b2c3d4e5f",
			Content: []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40" width="40" height="40"><rect width="40" height="40" rx="10" fill="#00695c"/>` +
				`<path d="M9 29V12l11 10 11-10v17" fill="none" stroke="#fff" stroke-width="3.5" stroke-linecap="round" stroke-linejoin="round"/></svg>`)},
	}}}, nil))
	bankApp = views.App(bank.Load(), clients.Prepare(storage.App{Name: "Ledger", OrgID: "bank"}))
)

// may is what an app may do, in the product's own words.
func may(names ...string) []pages.Scope {
	var scopes []pages.Scope
	for _, name := range names {
		scopes = append(scopes, views.Scope(pages.English, name))
	}
	return scopes
}

// asks is what an app asks for, as the Authorize App page groups it.
func asks(names ...string) []pages.ScopeGroup { return views.Groups(pages.English, names, nil) }

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
			Groups: asks("openid", "profile", "offline_access", "view:environment")})
	},
	"consent-catalogue": func(r *pages.Renderer, w http.ResponseWriter) {
		names := []string{"not:in:the:catalogue"}
		for _, scope := range scopes.Catalog() {
			names = append(names, scope.Name)
		}
		r.Consent(w, http.StatusOK, pages.Consent{App: gitProxy, Account: ada, RedirectHost: "gitproxy.example.com", SwitchURL: "/switch", Groups: asks(names...)})
	},
	"consent-branded": func(r *pages.Renderer, w http.ResponseWriter) {
		r.Consent(w, http.StatusOK, pages.Consent{App: bankApp, Account: ada, RedirectHost: "ledger.example.com", SwitchURL: "/switch",
			Groups: asks("openid", "email")})
	},
	"sign-in-branded": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignIn(w, http.StatusOK, pages.SignIn{App: &bankApp})
	},
	"sign-in-visible": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignIn(w, http.StatusOK, pages.SignIn{App: &gitProxy, Username: "ada", PasswordVisible: true, Password: "correct horse"})
	},
	"error-branded": func(r *pages.Renderer, w http.ResponseWriter) {
		r.Error(w, http.StatusOK, pages.Error{Kind: "disabled", Args: []any{"Ledger"}, Brand: bankApp.Brand, Reference: "7f3a9c52"})
	},
	"error-notfound": func(r *pages.Renderer, w http.ResponseWriter) {
		r.Error(w, http.StatusOK, pages.Error{Kind: "notfound", Reference: "7f3a9c52"})
	},
	"consent-wide": func(r *pages.Renderer, w http.ResponseWriter) {
		app := pages.App{Name: "Deploy CLI <script>", Organization: "Other Company"}
		r.Consent(w, http.StatusOK, pages.Consent{App: app, Account: ada, Foreign: true, Device: true, RedirectHost: "this device (127.0.0.1)",
			Notice: pages.English.Get("consent.expired"), SwitchURL: "/switch",
			Groups: asks("full")})
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
			{App: gitProxy, ClientID: "1", Since: since, Scopes: may("profile", "offline_access")},
			{App: pages.App{Name: "Deploy CLI", Organization: "Acme Payments"}, ClientID: "2", Since: since, Disabled: true,
				Scopes: may("full")}}})
	},
	"authorized-apps-revoked": func(r *pages.Renderer, w http.ResponseWriter) {
		r.AuthorizedApps(w, pages.AuthorizedApps{Account: ada, Revoked: "GitProxy", Notice: pages.English.Get("apps.expired")})
	},
	"sign-out": func(r *pages.Renderer, w http.ResponseWriter) {
		r.SignOut(w, pages.SignOut{App: &gitProxy, Account: ada})
	},
	"signed-out":        func(r *pages.Renderer, w http.ResponseWriter) { r.SignedOut(w, pages.SignedOut{}) },
	"signed-out-nobody": func(r *pages.Renderer, w http.ResponseWriter) { r.SignedOut(w, pages.SignedOut{Nobody: true}) },
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
	mux.Handle("GET "+pages.BrandPath, views.BrandAssets{Directory: bank})
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
