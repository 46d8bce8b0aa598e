// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// SetHeaders protects a page: no script at all, styles and images from here
// alone, no framing, never cached. Other sites get no referrer, but our own forms
// say where they come from: under no-referrer a browser sends "Origin: null",
// which cannot be told from a form of somebody else's. formTargets are origins, as
// FormTarget makes them, to which an answer to the page's form may redirect.
// https://www.w3.org/TR/CSP3/
func SetHeaders(h http.Header, formTargets ...string) {
	form := strings.Join(append([]string{"'self'"}, formTargets...), " ")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action "+form+
		"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// plainHost is what CSP's host-source can say, and keeps anything that would
// end the directive out of it.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

// FormTarget is the CSP source of a redirect URI: its origin, or its scheme
// where an origin cannot be written (private schemes, IPv6 literals, which the
// grammar of host-source does not know). Browsers apply form-action to the
// redirects that follow a form, not only to its own target.
func FormTarget(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Scheme == "" {
		return "'none'"
	}
	if !plainHost.MatchString(u.Host) {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}
