// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"net/http"
	"strconv"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/pages"
)

// catchAll is the pattern of what no endpoint takes.
const catchAll = "/"

// elsewhere answers what no endpoint of mux takes: a method that the path does
// not have, the front door, and paths that are not there.
type elsewhere struct {
	mux    *http.ServeMux
	server *Server
	pages  *pages.Renderer
}

func (e *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	methods := e.methods(r)
	switch {
	case r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		e.front(w, r)
	case len(methods) > 0:
		allowed := strings.Join(methods, ", ")
		w.Header().Set("Allow", allowed)
		e.fail(w, r, httpx.Problemf(http.StatusMethodNotAllowed, "this method is not possible here; use %s", allowed))
	case prefersHTML(r):
		w.Header().Set("Vary", "Accept")
		e.pages.Problem(w, r, e.server.config.Logger, pages.Problem{Status: http.StatusNotFound, View: pages.Error{
			Kind: "notfound", Link: e.pages.Text().Get("apps.title"), LinkURL: pages.PathAuthorizedApps,
		}})
	default:
		w.Header().Set("Vary", "Accept")
		e.fail(w, r, httpx.NotFound("there is no such endpoint"))
	}
}

func (e *elsewhere) fail(w http.ResponseWriter, r *http.Request, err error) {
	httpx.Fail(w, r, e.server.config.Logger, err)
}

// methods are those that the path has; none: there is no such path.
func (e *elsewhere) methods(r *http.Request) []string {
	if r.URL.Path == "/" {
		return []string{http.MethodGet}
	}
	var found []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := e.mux.Handler(&other); pattern != "" && pattern != catchAll {
			found = append(found, method)
		}
	}
	return found
}

// front leads a person to what a person can do here, and tells a program where
// the rest is found.
func (e *elsewhere) front(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if prefersHTML(r) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Location", pages.PathAuthorizedApps)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	base := e.server.config.PublicURL
	httpx.JSON(w, http.StatusOK, struct {
		Issuer    string `json:"issuer"`
		Discovery string `json:"discovery"`
		Metadata  string `json:"metadata"`
	}{e.server.config.issuer(), base + oauth.PathDiscovery, base + oauth.PathMetadata})
}

// prefersHTML tells a browser from a program: it names HTML, and likes JSON no
// better (https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1).
func prefersHTML(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	html := max(quality(accept, "text/html"), quality(accept, "application/xhtml+xml"))
	return html > 0 && html >= quality(accept, "application/json")
}

// quality is how much an Accept header likes a media type that it names; zero
// when it does not name it.
func quality(accept, media string) float64 {
	for item := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(name), media) {
			continue
		}
		for parameter := range strings.SplitSeq(parameters, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if q, err := strconv.ParseFloat(value, 64); err == nil && strings.EqualFold(key, "q") {
				return q
			}
		}
		return 1
	}
	return 0
}
