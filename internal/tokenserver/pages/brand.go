// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"
	"strings"
)

// BrandPath is where the files of organizations are: their logos and colours.
const BrandPath = AssetPath + "brand/"

// Brand is how an organization presents itself on the pages that lead to one of
// its apps. The zero value of a field means ours, or nothing.
type Brand struct {
	Name string
	// Logo and Style are local addresses.
	Logo, Style string
	// HelpContact is a mail address or an https address.
	HelpContact string
}

// HelpURL is where the help contact is reached.
func (b *Brand) HelpURL() string {
	if strings.Contains(b.HelpContact, "://") {
		return httpsOnly(b.HelpContact)
	}
	return "mailto:" + b.HelpContact
}

// HelpLabel is the help contact, short enough to be read.
func (b *Brand) HelpLabel() string { return hostOf(b.HelpContact) }

// WriteAsset answers with a file whose address changes with its content, so that
// it is cached for good. Nothing in it may run, fetch or be framed, also when
// somebody opens it on its own.
func WriteAsset(w http.ResponseWriter, r *http.Request, contentType string, content []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(content)
}
