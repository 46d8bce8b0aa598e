// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

//go:embed templates
var templateFiles embed.FS

// Renderer turns views into answers. Make it with New.
type Renderer struct {
	text   Text
	assets *Assets
	pages  map[string]*template.Template
}

// names are the templates that stand for a page.
var names = []string{"signin", "consent", "apps", "signout", "signedout", "error"}

// New parses the templates; a mistake in them is a panic, met by any test.
func New() *Renderer {
	r := &Renderer{text: English, assets: NewAssets(), pages: map[string]*template.Template{}}
	funcs := template.FuncMap{"t": r.text.html, "name": isolated, "link": r.text.link, "asset": r.assets.Path, "https": httpsOnly, "host": hostOf}
	layout := template.Must(template.New("layout.html").Funcs(funcs).
		ParseFS(templateFiles, "templates/layout.html", "templates/parts.html"))
	for _, name := range names {
		r.pages[name] = template.Must(template.Must(layout.Clone()).ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return r
}

// Mount adds the files that the pages refer to.
func (r *Renderer) Mount(mux httpx.Router) { mux.Handle("GET "+AssetPath, r.assets) }

// Text is the language the pages are written in.
func (r *Renderer) Text() Text { return r.text }

// frame is what the layout shows around every page.
type frame struct {
	Lang, Title string
	// Wide pages hold lists.
	Wide bool
	// Brand is that of the organization whose app is concerned; nil: ours.
	Brand *Brand
	View  any
}

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
	r.write(w, status, "signin", frame{Title: title, Brand: brandOf(v.App), View: v}, formTargets...)
}

// Consent writes the Authorize App page.
func (r *Renderer) Consent(w http.ResponseWriter, status int, v Consent, formTargets ...string) {
	r.write(w, status, "consent", frame{Title: r.text.Get("consent.title", v.App.Name), Brand: v.App.Brand, View: v}, formTargets...)
}

// AuthorizedApps writes the list of authorized apps.
func (r *Renderer) AuthorizedApps(w http.ResponseWriter, v AuthorizedApps) {
	r.write(w, http.StatusOK, "apps", frame{Title: r.text.Get("apps.title"), Wide: true, View: v})
}

// SignOut writes the question before the session ends.
func (r *Renderer) SignOut(w http.ResponseWriter, v SignOut, formTargets ...string) {
	r.write(w, http.StatusOK, "signout", frame{Title: r.text.Get("signout.title"), Brand: brandOf(v.App), View: v}, formTargets...)
}

// SignedOut writes the end of a session.
func (r *Renderer) SignedOut(w http.ResponseWriter, v SignedOut) {
	title := "signedout.title"
	if v.Nobody {
		title = "signedout.nobody"
	}
	r.write(w, http.StatusOK, "signedout", frame{Title: r.text.Get(title), View: v})
}

// Error writes a page that ends a flow.
func (r *Renderer) Error(w http.ResponseWriter, status int, v Error) {
	r.write(w, status, "error", frame{Title: r.text.Get("error." + v.Kind + ".title"), Brand: v.Brand, View: v})
}

func (r *Renderer) write(w http.ResponseWriter, status int, name string, f frame, formTargets ...string) {
	f.Lang = "en"
	var body bytes.Buffer
	if err := r.pages[name].ExecuteTemplate(&body, "layout.html", f); err != nil {
		// The views are ours and plain: this is a mistake in a template.
		panic(fmt.Sprintf("rendering page %s: %v", name, err))
	}
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
