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
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer in time")
	}
	return &Error{
		Reason: ReasonServerUnavailable,
		Err:    fmt.Errorf("asking the token endpoint at %s: %w", host, err),
	}
}

func asCredentialsError(err error) error {
	if _, ok := errors.AsType[*Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Reason: ReasonCredentialsInvalid, Err: fmt.Errorf("reading the credentials: %w", err)}
}
