// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// PublicURLProblem says what is wrong with a publicURL, and what to write
// instead where that can be known; empty: nothing. Clients rewrite URLs before
// they compare them byte by byte, so each has one way to be written: the one of
// browsers (https://url.spec.whatwg.org/#host-parsing).
func PublicURLProblem(text string) string {
	if text == "" {
		return "is required: how clients reach the server, such as https://id.example.com"
	}
	scheme, rest, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || rest == "" || (scheme != "https" && scheme != "http") {
		return "must be an https URL such as https://id.example.com"
	}
	if strings.ContainsAny(rest, `/?#\`) {
		return "must be scheme, host and port only, without a final slash, path, query or fragment"
	}
	if strings.Contains(rest, "@") {
		return "must not hold a user name or password"
	}
	canonical, err := canonicalAddress(scheme, rest)
	switch {
	case err != nil:
		return err.Error()
	case text != scheme+"://"+canonical:
		return fmt.Sprintf("must be written %s://%s, as clients do before they compare it", scheme, canonical)
	case scheme == "http" && !isLoopback(hostname(text)):
		return "must be https: plain http is for localhost and loopback addresses only"
	}
	return ""
}

// ownNamespace stands in publicURL for the namespace that this server runs in,
// which its Pod has in the environment variable of this name: so the same file
// serves every namespace.
const (
	ownNamespace    = "$(POD_NAMESPACE)"
	ownNamespaceEnv = "POD_NAMESPACE"
)

func (c *Config) completePublicURL() {
	if namespace := os.Getenv(ownNamespaceEnv); namespace != "" {
		c.PublicURL = strings.ReplaceAll(c.PublicURL, ownNamespace, namespace)
	}
}

func hostname(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

var hostAndPort = regexp.MustCompile(`^(\[[^\[\]]*\]|[^:\[\]]+)(?::([^:]*))?$`)

// canonicalAddress is the one way to write host and port.
func canonicalAddress(scheme, address string) (string, error) {
	match := hostAndPort.FindStringSubmatch(address)
	if match == nil {
		return "", errors.New("must be scheme, host and port; an IPv6 address stands in brackets, such as https://[2001:db8::1]:8443")
	}
	host, err := canonicalHost(match[1])
	if err != nil {
		return "", err
	}
	port := match[2]
	if port == "" {
		return host, nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || strings.HasPrefix(port, "+") {
		return "", fmt.Errorf("must have a port from 1 to 65535, not %q", port)
	}
	if scheme == "https" && number == 443 || scheme == "http" && number == 80 {
		return host, nil
	}
	return host + ":" + strconv.FormatUint(number, 10), nil
}

func canonicalHost(host string) (string, error) {
	if strings.HasPrefix(host, "[") {
		address, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil || !address.Is6() || address.Zone() != "" {
			return "", fmt.Errorf("must have an IPv6 address without a zone in the brackets, not %s", host)
		}
		return "[" + canonicalIPv6(address) + "]", nil
	}
	name, err := asciiHost(strings.TrimSuffix(host, "."))
	if err != nil || !hostForm.MatchString(name) {
		return "", fmt.Errorf("must have a host name of letters, digits and hyphens, not %q", host)
	}
	if endsInNumber(name) {
		// Browsers take 127.1, 0x7f000001 and 010.0.0.1 for addresses.
		address, err := netip.ParseAddr(name)
		if err != nil || !address.Is4() {
			return "", fmt.Errorf("must have an IPv4 address of four plain numbers or a host name, not %q", host)
		}
	}
	return name, nil
}

// asciiHost is the punycode of a host name. Some names have one that is itself
// refused; they cannot be written at all.
func asciiHost(host string) (string, error) {
	name, err := hostProfile().ToASCII(host)
	if err != nil {
		return "", err
	}
	again, err := hostProfile().ToASCII(name)
	if err == nil && again != name {
		err = fmt.Errorf("%s is rewritten to %s", name, again)
	}
	return name, err
}

// canonicalIPv6 has no dotted ending, which browsers do not write.
func canonicalIPv6(address netip.Addr) string {
	if !address.Is4In6() {
		return address.String()
	}
	b := address.As16()
	return fmt.Sprintf("::ffff:%x:%x", int(b[12])<<8|int(b[13]), int(b[14])<<8|int(b[15]))
}

// hostProfile is UTS 46 as browsers apply it.
func hostProfile() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false), idna.StrictDomainName(false), idna.VerifyDNSLength(true))
}

var hostForm = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

var numeric = regexp.MustCompile(`^([0-9]+|0x[0-9a-f]*)$`)

func endsInNumber(name string) bool {
	return numeric.MatchString(name[strings.LastIndex(name, ".")+1:])
}

// ListenFor is the address on which a server of this machine answers publicURL,
// when that is plain http; otherwise DefaultListen, for what ends TLS in front.
func ListenFor(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil || u.Scheme != "http" {
		return DefaultListen
	}
	host, port := u.Hostname(), u.Port()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(host, port)
}
