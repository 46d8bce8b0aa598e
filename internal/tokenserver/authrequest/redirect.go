// SPDX-License-Identifier: Apache-2.0

package authrequest

import (
	"net/url"
	"strconv"
	"strings"
)

// Registered tells whether given is one of the registered addresses: the same
// text, except that an empty path equals "/" and the port of a registered
// http://127.0.0.1 or http://[::1] is free.
// https://www.rfc-editor.org/rfc/rfc9700#section-2.1
// https://www.rfc-editor.org/rfc/rfc8252#section-7.3
func Registered(registered []string, given string) bool {
	if strings.ContainsAny(given, "#\\") || strings.ContainsFunc(given, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return false
	}
	for _, uri := range registered {
		if withPath(uri) == withPath(given) {
			return true
		}
		bare, ok := withoutLoopbackPort(uri)
		if other, given := withoutLoopbackPort(given); ok && given && withPath(bare) == withPath(other) {
			return true
		}
	}
	return false
}

// withPath writes an empty path as "/".
func withPath(uri string) string {
	authority, rest, ok := splitAuthority(uri)
	if !ok || strings.HasPrefix(rest, "/") {
		return uri
	}
	return authority + "/" + rest
}

// withoutLoopbackPort removes the port of an address on this device.
func withoutLoopbackPort(uri string) (string, bool) {
	authority, rest, ok := splitAuthority(uri)
	if !ok {
		return "", false
	}
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		port, found := strings.CutPrefix(authority, host)
		if found && isPort(port) {
			return host + rest, true
		}
	}
	return "", false
}

// isPort accepts nothing at all, or a colon and a port from 1 to 65535.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	digits, ok := strings.CutPrefix(s, ":")
	port, err := strconv.ParseUint(digits, 10, 16)
	return ok && err == nil && port > 0 && digits[0] != '0'
}

// splitAuthority cuts "scheme://authority" off.
func splitAuthority(uri string) (authority, rest string, ok bool) {
	i := strings.Index(uri, "://")
	if i <= 0 {
		return "", "", false
	}
	end := strings.IndexAny(uri[i+3:], "/?#")
	if end < 0 {
		return uri, "", true
	}
	return uri[:i+3+end], uri[i+3+end:], true
}

// WithParameters adds the response's parameters to a redirect URI, keeping what
// its query holds already.
func WithParameters(uri string, parameters url.Values) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + parameters.Encode()
}
