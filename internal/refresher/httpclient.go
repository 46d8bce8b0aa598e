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
	"time"
)

const defaultTimeout = 15 * time.Second

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

// unavailable words a request without an answer. The URL is left out, since
// only its host is known to be harmless.
func unavailable(host string, err error) *Error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return &Error{
		Reason: ReasonServerUnavailable,
		Err:    fmt.Errorf("asking the token endpoint at %s: %w", host, steady(err)),
	}
}

// steady leaves out of an error what differs from one try to the next, such as
// the local port or the present time: the same trouble has the same words, and
// is told once.
func steady(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fmt.Errorf("its certificate is valid from %s to %s, and not now",
			e.Cert.NotBefore.UTC().Format(time.RFC3339), e.Cert.NotAfter.UTC().Format(time.RFC3339))
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
