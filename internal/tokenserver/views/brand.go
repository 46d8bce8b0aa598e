// SPDX-License-Identifier: Apache-2.0

package views

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/pages"
)

// brand is how an organization presents itself; nil when it does not.
func brand(org *directory.Organization) *pages.Brand {
	b := org.Branding
	if b == (directory.Branding{}) {
		return nil
	}
	return &pages.Brand{Name: b.Name, Logo: logoPath(b.Logo), Style: stylePath(pages.AccentStyle(b.AccentColor)), HelpContact: b.HelpContact}
}

func logoPath(logo *directory.Logo) string {
	if logo == nil {
		return ""
	}
	return pages.BrandPath + logo.Hash + map[string]string{"image/png": ".png", "image/svg+xml": ".svg"}[logo.Type]
}

func stylePath(style string) string {
	if style == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(style))
	return pages.BrandPath + hex.EncodeToString(sum[:6]) + ".css"
}

// BrandAssets serves the logos and style sheets of organizations.
type BrandAssets struct{ Directory *directory.Live }

// Mount adds the files' path to mux.
func (a BrandAssets) Mount(mux httpx.Router) { mux.Handle("GET "+pages.BrandPath, a) }

func (a BrandAssets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, org := range a.Directory.Load().Organizations() {
		if logo := org.Branding.Logo; logo != nil && r.URL.Path == logoPath(logo) {
			pages.WriteAsset(w, r, logo.Type, logo.Content)
			return
		}
		if !strings.HasSuffix(r.URL.Path, ".css") {
			continue
		}
		if style := pages.AccentStyle(org.Branding.AccentColor); style != "" && r.URL.Path == stylePath(style) {
			pages.WriteAsset(w, r, "text/css; charset=utf-8", []byte(style))
			return
		}
	}
	http.NotFound(w, r)
}
