// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// askTimeout is how long an issuer may take for all that is asked of it at once.
const askTimeout = 5 * time.Second

// Connection is how an issuer is reached. Its files are read at every use: the
// kubelet changes them.
type Connection struct {
	// URL is where paths begin, without a final slash.
	URL string
	// CAFile is PEM of the authorities to trust; empty: those of the system.
	CAFile string
	// TokenFile holds a bearer token; empty: none.
	TokenFile string
}

// Check fails when the files cannot be used.
func (c Connection) Check() error {
	_, err := c.authorities()
	if err == nil {
		_, err = c.token()
	}
	return err
}

func (c Connection) authorities() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", c.CAFile)
	}
	return pool, nil
}

func (c Connection) token() (string, error) {
	if c.TokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(text))
	// The error must not show the token.
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s holds no token", c.TokenFile)
	}
	return token, nil
}

// ask sends a request and returns the body of the answer, which must have the
// status and be no longer than limit. The token goes to the host of URL alone.
func (c Connection) ask(ctx context.Context, method, target string, body []byte, status, limit int) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// The JWK Set of an API server is of the second type alone.
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if sameOrigin(target, c.URL) {
		token, err := c.token()
		if err != nil {
			return nil, err
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
	}
	client, done, err := c.client()
	if err != nil {
		return nil, err
	}
	defer done()
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != status {
		return nil, fmt.Errorf("%s answers with status %d%s", target, response.StatusCode, c.remedy(method, response.StatusCode))
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, int64(limit)+1))
	if err == nil && len(answer) > limit {
		err = fmt.Errorf("%s answers with more than %d bytes", target, limit)
	}
	return answer, err
}

// remedy is what to do about an API server that does not show its keys; empty: that
// is not what it answered.
func (c Connection) remedy(method string, status int) string {
	if method != http.MethodGet || status != http.StatusForbidden && status != http.StatusUnauthorized {
		return ""
	}
	const role = "ClusterRole system:service-account-issuer-discovery"
	if c.TokenFile == "" {
		return ": where it is an API server, name a tokenFile whose ServiceAccount has the " + role + ", or bind that to the group system:unauthenticated"
	}
	return ": where it is an API server, bind the " + role + " to the ServiceAccount of " + c.TokenFile
}

// client is for one request, since the authorities may be others the next time.
func (c Connection) client() (client *http.Client, done func(), err error) {
	pool, err := c.authorities()
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}
	return &http.Client{Transport: transport, CheckRedirect: stay}, transport.CloseIdleConnections, nil
}

const maxRedirects = 3

// stay follows redirects within the host that was asked: no other is trusted.
func stay(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case !sameOrigin(next.URL.String(), via[0].URL.String()):
		return errors.New("a redirect to another host is not followed")
	}
	return nil
}

func sameOrigin(a, b string) bool {
	one, err := url.Parse(a)
	if err != nil {
		return false
	}
	two, err := url.Parse(b)
	return err == nil && one.Scheme == two.Scheme && strings.EqualFold(one.Host, two.Host)
}
