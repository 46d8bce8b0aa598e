// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/url"
	"strconv"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

const (
	maxURIs      = 100
	maxURILength = 2000
)

// readRedirectURI takes what an authorization response may be sent to: https
// anywhere, http on the caller's own machine (RFC 8252 section 7.3), or a
// private-use scheme in reverse-domain form (section 7.1), which checkRedirects
// leaves to public clients.
// https://www.rfc-editor.org/rfc/rfc8252#section-7
func readRedirectURI(path string, v any) (string, error) {
	s, u, err := readAbsoluteURI(path, v)
	if err != nil {
		return "", err
	}
	switch {
	case strings.Contains(s, "#"):
		return "", httpx.BadRequest("%s: must have no fragment", path) // RFC 6749 section 3.1.2
	case strings.Contains(u.Host, "*"):
		return "", httpx.BadRequest("%s: must not contain a wildcard", path)
	case u.Scheme == "https" && u.Hostname() != "", u.Scheme == "http" && loopback(u.Hostname()), privateUse(s):
		return s, nil
	}
	return "", httpx.BadRequest("%s: must be https with a host, http on 127.0.0.1, [::1] or localhost, "+
		"or a private-use scheme in reverse-domain form such as com.example.app:/callback", path)
}

// readWebURI takes the address of a page for people.
func readWebURI(path string, v any) (string, error) {
	s, u, err := readAbsoluteURI(path, v)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return "", httpx.BadRequest("%s: must be an absolute http or https address", path)
	}
	return s, nil
}

func readAbsoluteURI(path string, v any) (string, *url.URL, error) {
	s, err := line(maxURILength)(path, v)
	if err != nil {
		return "", nil, err
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return "", nil, httpx.BadRequest("%s: must be ASCII without spaces and backslashes; percent-encode the rest", path)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return "", nil, httpx.BadRequest("%s: must be an absolute URI", path)
	}
	if u.User != nil {
		return "", nil, httpx.BadRequest("%s: must not contain a user name or password", path)
	}
	if port := u.Port(); port != "" && !isPort(port) {
		return "", nil, httpx.BadRequest("%s: the port must be a number from 1 to 65535", path)
	}
	return s, u, nil
}

func isPort(digits string) bool {
	port, err := strconv.ParseUint(digits, 10, 16)
	return err == nil && port > 0
}

func loopback(host string) bool {
	return host == "127.0.0.1" || host == "::1" || strings.EqualFold(host, "localhost")
}
