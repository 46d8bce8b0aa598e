// SPDX-License-Identifier: Apache-2.0

package user

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
)

// Names of the cookies: ours alone, since every server on a host shares its
// cookies whatever its port. On https they carry the __Host- prefix: set by this
// host alone, for all of it, over TLS.
const (
	sessionCookie = "connectedapps-session"
	browserCookie = "connectedapps-browser"
	hostPrefix    = "__Host-"
)

// Cookies reads and writes the two cookies of the pages: the session, and a
// random mark of a browser nobody has signed in with yet, to which its forms
// are bound.
type Cookies struct {
	// Secure is set when the server's public URL is https.
	Secure bool
	// Port is that of a public URL on http loopback, where several servers run
	// beside each other; empty: none is told apart.
	Port string
	// Key is the data key of purpose cookie.
	Key []byte
}

func (c *Cookies) name(name string) string {
	switch {
	case c.Secure:
		return hostPrefix + name
	case c.Port != "":
		return name + "-" + c.Port
	}
	return name
}

func (c *Cookies) get(r *http.Request, name string) string {
	cookies := r.CookiesNamed(c.name(name))
	if len(cookies) != 1 || len(cookies[0].Value) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return ""
	}
	return cookies[0].Value
}

// set writes a cookie that ends with the browser; maxAge below zero removes it.
func (c *Cookies) set(w http.ResponseWriter, name, value string, maxAge int) {
	//nolint:gosec // Secure is off on http loopback alone, where a browser would drop the cookie
	http.SetCookie(w, &http.Cookie{Name: c.name(name), Value: value, Path: "/", MaxAge: maxAge,
		Secure: c.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// mac binds parts under a key of its own for that purpose.
func (c *Cookies) mac(purpose string, parts ...string) []byte {
	h := hmac.New(sha256.New, c.Key)
	writePart(h, purpose)
	for _, part := range parts {
		writePart(h, part)
	}
	return h.Sum(nil)
}

func writePart(h interface{ Write([]byte) (int, error) }, part string) {
	n := len(part)
	_, _ = h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	_, _ = h.Write([]byte(part))
}

// tokenBytes is how many random bytes a cookie's value has.
const tokenBytes = 32
