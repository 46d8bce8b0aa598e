// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	defaultTimeout = 15 * time.Second
	userAgent      = "connectedapps-refresher"
)

// newHTTPClient makes a client for one request. It follows no redirect, which
// would carry the credentials to another address.
func newHTTPClient(caBundle []byte, timeout time.Duration) (*http.Client, error) {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(caBundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(caBundle) {
			return nil, credentialsErrorf("ca.crt holds no PEM certificate")
		}
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
			TLSClientConfig:        config,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// unavailable words a request to what is at host that got no answer. The URL is left out, since
// only its host is known to be harmless.
func unavailable(what, host string, err error) *Error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if text, hint := distrust(host, err); text != "" {
		return &Error{
			Reason: ReasonCertificateInvalid,
			Hint:   hint,
			Err:    fmt.Errorf("the certificate of the %s at %s is not trusted: %s", what, host, text),
		}
	}
	return &Error{
		Reason: ReasonServerUnavailable,
		Err:    fmt.Errorf("asking the %s at %s: %w", what, host, steady(err)),
	}
}

// distrust says why a certificate was refused, and what to do about it. It is
// empty for any other failure.
func distrust(host string, err error) (text, hint string) {
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := "an authority"
		if e.Cert != nil {
			issuer = fmt.Sprintf("%.100q", e.Cert.Issuer.String())
		}
		return "it is signed by " + issuer + ", which is none of the authorities to trust",
			"put the authority's certificate into ca.crt beside the credentials, or name its file by --ca-file"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("it is for %s and not for %s", names(e.Certificate), e.Host),
			"use an address that the certificate is for, by token-url beside the credentials or --token-url"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fmt.Sprintf("it is valid from %s to %s, and not now",
				e.Cert.NotBefore.UTC().Format(time.RFC3339), e.Cert.NotAfter.UTC().Format(time.RFC3339)),
			"renew the certificate of " + host + ", or set this machine's clock"
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return "this machine has no list of authorities", "put the authority's certificate into ca.crt beside the credentials, or name its file by --ca-file"
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Err.Error(), "renew the certificate of " + host
	}
	return "", ""
}

// names are whom a certificate is for, the first few of them.
func names(c *x509.Certificate) string {
	const some = 5
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	switch {
	case len(all) == 0:
		return "no host"
	case len(all) > some:
		all = append(all[:some], fmt.Sprintf("%d more", len(all)-some))
	}
	return strings.Join(all, ", ")
}

// steady leaves out of an error what differs from one try to the next, such as
// the local port or the present time: the same trouble has the same words, and
// is told once.
func steady(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("looking up %s: %s", e.Name, lookupProblem(e))
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		e := *e
		e.Source = nil
		return &e
	}
	return err
}

func lookupProblem(e *net.DNSError) string {
	switch {
	case e.IsNotFound:
		return "no such host"
	case e.IsTimeout:
		return "no answer in time"
	}
	return "the name server does not answer as it should"
}

func asCredentialsError(err error) error {
	if _, ok := errors.AsType[*Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Reason: ReasonCredentialsInvalid, Err: fmt.Errorf("reading the credentials: %w", err)}
}
