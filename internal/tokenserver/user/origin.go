// SPDX-License-Identifier: Apache-2.0

package user

import (
	"net/http"
)

// Ours tells whether a form was sent by a page of our own, as far as the
// browser says: by Fetch Metadata, or else by Origin, compared with the public
// URL and never with Host, which a proxy may rewrite. A client that says neither
// is let through here: the form's token decides, which is bound to the browser.
// https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
func (f *Forms) Ours(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		origins := r.Header.Values("Origin")
		return len(origins) == 0 || (len(origins) == 1 && origins[0] == f.Origin)
	}
	return false
}
