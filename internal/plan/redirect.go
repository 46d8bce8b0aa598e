// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Reasons why no rule can allow a redirect URI, in the words of the CRD, which
// reads redirect URIs by the same rules.
var (
	errURICharacters = errors.New("must have no fragment, and neither spaces, backslashes nor characters beyond ASCII")
	errURIScheme     = errors.New("must begin with https://, with http:// on loopback, or " +
		"for a Public client with a private-use scheme such as com.example.app:/callback")
	errURISlash     = errors.New("must have exactly one slash after a private-use scheme, no host, and whole percent-encodings")
	errURIHost      = errors.New("must have a host name or address after ://, with neither a user name nor a wildcard, and whole percent-encodings")
	errURILoopback  = errors.New("must be https: http is for localhost, 127.0.0.1 and [::1]")
	errURIPort      = errors.New("must have a port from 1 to 65535 after the host, or none")
	errURINotPublic = errors.New("a private-use scheme is for clientType Public")
)

// redirect is what access rules compare of a redirect URI: one of the two.
type redirect struct {
	// host of an https or loopback URI, in lower case, without port and brackets.
	host string
	// scheme of a native app, which has no host (RFC 8252 section 7.1).
	// https://www.rfc-editor.org/rfc/rfc8252#section-7.1
	scheme string
}

// redirectAllowed returns why a rule does not allow a redirect URI of a client;
// nil: it does.
func redirectAllowed(uri string, c Client, rule v1alpha1.AccessRule) error {
	r, err := parseRedirect(uri)
	switch {
	case err != nil:
		return err
	case r.scheme != "" && !c.Public():
		// Whoever claims the scheme on the device gets the code; only PKCE without
		// a secret that others hold too says who began (RFC 8252 section 8.1).
		return errURINotPublic
	case r.scheme != "" && !slices.Contains(rule.RedirectSchemes, v1alpha1.RedirectScheme(r.scheme)):
		return fmt.Errorf("redirectSchemes has no %s: %s", cut(r.scheme), allows(rule.Name, names(rule.RedirectSchemes)))
	case r.scheme == "" && !slices.ContainsFunc(rule.RedirectHosts, func(h v1alpha1.RedirectHost) bool { return hostMatches(r.host, string(h)) }):
		return fmt.Errorf("redirectHosts has no %s: %s", cut(r.host), allows(rule.Name, names(rule.RedirectHosts)))
	}
	return nil
}

// CheckRedirectURI returns why no rule can allow a redirect URI of an app; nil: one
// can.
func CheckRedirectURI(uri string, isPublic bool) error {
	r, err := parseRedirect(uri)
	if err == nil && r.scheme != "" && !isPublic {
		return errURINotPublic
	}
	return err
}

// parseRedirect reads a redirect URI, and refuses what two readers could
// understand differently.
func parseRedirect(uri string) (redirect, error) {
	if strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '#' }) {
		return redirect{}, errURICharacters
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	switch {
	case (scheme == "https" || scheme == "http") && strings.HasPrefix(rest, "//"):
		return parseWebRedirect(uri)
	case !reverseDomain(scheme):
		return redirect{}, errURIScheme
	}
	if _, err := url.ParseRequestURI(uri); err != nil || !strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "//") {
		return redirect{}, errURISlash
	}
	return redirect{scheme: scheme}, nil
}

func parseWebRedirect(uri string) (redirect, error) {
	u, err := url.ParseRequestURI(uri)
	if err != nil || u.User != nil || !validHost(u) {
		return redirect{}, errURIHost
	}
	host := strings.ToLower(u.Hostname())
	switch {
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return redirect{}, errURILoopback
	case !validPort(u):
		return redirect{}, errURIPort
	}
	return redirect{host: host}, nil
}

// validHost takes a domain name, an IPv4 address, or an IPv6 address in
// brackets that is not another way to write an IPv4 address.
func validHost(u *url.URL) bool {
	name := u.Hostname()
	if !strings.HasPrefix(u.Host, "[") {
		return !strings.Contains(name, ":") && len(validation.IsDNS1123Subdomain(strings.ToLower(name))) == 0
	}
	address, err := netip.ParseAddr(name)
	return err == nil && address.Is6() && address.Zone() == "" && !address.Is4In6()
}

func validPort(u *url.URL) bool {
	port := u.Port()
	if port == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && port[0] != '0'
}

// reverseDomain tells whether a scheme is a domain name in reverse order. The
// dot keeps out javascript, data, file and all that a browser knows.
func reverseDomain(scheme string) bool {
	return strings.Contains(scheme, ".") && scheme[0] >= 'a' && scheme[0] <= 'z' && len(validation.IsDNS1123Subdomain(scheme)) == 0
}

func hostMatches(host, pattern string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*."); ok {
		labels, found := strings.CutSuffix(host, "."+suffix)
		return found && labels != ""
	}
	return host == strings.Trim(pattern, "[]")
}

// loopback compares the case as well, as the CRD does.
func loopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }
