// SPDX-License-Identifier: Apache-2.0

package views

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func TestEveryScopeIsSaidInWordsOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, known := range scopes.Catalog() {
		view := Scope(pages.English, known.Name)
		assert.NotEqual(t, known.Name, view.Title)
		assert.Regexp(t, `^[A-Z].+ .+\.$`, view.Description, known.Name)
		assert.NotEqual(t, view.Title+".", view.Description, "%s: the description says more than the title", known.Name)
		for _, words := range []string{view.Title, view.Description} {
			assert.Empty(t, seen[words], "%s says the same: %s", known.Name, words)
			seen[words] = known.Name
		}
	}
	assert.NotEmpty(t, Scope(pages.English, "not:in:the:catalogue").Description)
}

func TestFilesOfABrandAreFoundAtTheirAddressAlone(t *testing.T) {
	t.Parallel()
	logo := &directory.Logo{Content: []byte("<svg/>"), Type: "image/svg+xml", Hash: "0123456789ab"}
	dir := directory.New([]directory.Organization{{ID: "a", Name: "Plain"},
		{ID: "b", Name: "Acme", Branding: directory.Branding{AccentColor: "#ffd400", Logo: logo, HelpContact: "a@b.example"}}}, nil)
	assert.Nil(t, App(dir, clients.Prepare(storage.App{OrgID: "a"})).Brand)
	brand := App(dir, clients.Prepare(storage.App{OrgID: "b"})).Brand
	require.NotNil(t, brand)
	assets := BrandAssets{Directory: directory.NewLive(dir)}
	for path, want := range map[string]string{brand.Logo: "image/svg+xml", brand.Style: "text/css; charset=utf-8"} {
		w := httptest.NewRecorder()
		assets.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		assert.Equal(t, http.StatusOK, w.Code, path)
		assert.Equal(t, want, w.Header().Get("Content-Type"))
		assert.Contains(t, w.Header().Get("Content-Security-Policy"), "sandbox")
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	}
	for _, path := range []string{pages.BrandPath, pages.BrandPath + "0123456789ab.png", pages.BrandPath + "000000000000.css"} {
		w := httptest.NewRecorder()
		assets.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		assert.Equal(t, http.StatusNotFound, w.Code, path)
	}
}
