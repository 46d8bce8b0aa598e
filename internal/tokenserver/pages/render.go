// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"net/http"
	"strings"

	"maragu.dev/gomponents"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

// Renderer turns views into answers. Make it with New.
type Renderer struct {
	text   Text
	assets *Assets
}

// New makes a Renderer of the server's language.
func New() *Renderer { return &Renderer{text: English, assets: NewAssets()} }

// Mount adds the files that the pages refer to.
func (r *Renderer) Mount(mux httpx.Router) { mux.Handle("GET "+AssetPath, r.assets) }

// Text is the language the pages are written in.
func (r *Renderer) Text() Text { return r.text }

// brandOf is the brand of the app that asked, if one did.
func brandOf(app *App) *Brand {
	if app == nil {
		return nil
	}
	return app.Brand
}

// SignIn writes the sign-in page. formTargets are as SetHeaders takes them: a
// sign-in may end in a redirect to the app when nothing is left to ask.
func (r *Renderer) SignIn(w http.ResponseWriter, status int, v SignIn, formTargets ...string) {
	title := r.text.Get("signin.title")
	if len(v.Errors) > 0 {
		title = r.text.Get("title.error_prefix") + title
	}
	r.write(w, status, frame{title: title, brand: brandOf(v.App)}, r.signIn(v), formTargets...)
}

// Consent writes the Authorize App page.
func (r *Renderer) Consent(w http.ResponseWriter, status int, v Consent, formTargets ...string) {
	r.write(w, status, frame{title: r.text.Get("consent.title", v.App.Name), brand: v.App.Brand}, r.consent(v), formTargets...)
}

// AuthorizedApps writes the list of authorized apps.
func (r *Renderer) AuthorizedApps(w http.ResponseWriter, v AuthorizedApps) {
	r.write(w, http.StatusOK, frame{title: r.text.Get("apps.title"), wide: true}, r.authorizedApps(v))
}

// SignOut writes the question before the session ends.
func (r *Renderer) SignOut(w http.ResponseWriter, v SignOut, formTargets ...string) {
	r.write(w, http.StatusOK, frame{title: r.text.Get("signout.title"), brand: brandOf(v.App)}, r.signOut(v), formTargets...)
}

// SignedOut writes the end of a session.
func (r *Renderer) SignedOut(w http.ResponseWriter, v SignedOut) {
	title := "signedout.title"
	if v.Nobody {
		title = "signedout.nobody"
	}
	r.write(w, http.StatusOK, frame{title: r.text.Get(title)}, r.signedOut(v))
}

// Error writes a page that ends a flow.
func (r *Renderer) Error(w http.ResponseWriter, status int, v Error) {
	r.write(w, status, frame{title: r.text.Get("error." + v.Kind + ".title"), brand: v.Brand}, r.problem(v))
}

func (r *Renderer) write(w http.ResponseWriter, status int, f frame, page gomponents.Node, formTargets ...string) {
	var body bytes.Buffer
	_ = r.layout(f, page).Render(&body) // a buffer takes all
	SetHeaders(w.Header(), formTargets...)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// httpsOnly lets an address of an app become a link only over https.
func httpsOnly(uri string) string {
	if strings.HasPrefix(uri, "https://") {
		return uri
	}
	return ""
}

// hostOf shortens an https address to its host.
func hostOf(uri string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(uri, "https://"), "/")
	return host
}
