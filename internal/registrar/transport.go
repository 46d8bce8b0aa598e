// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	// maxBody bounds what is read of an answer about one app.
	maxBody = 2 << 20
	// maxListBody bounds what is read of a page of apps.
	maxListBody = 16 << 20
)

// request is one call. path is below the organization for call, below the
// server for send.
type request struct {
	op     string
	method string
	path   string
	query  url.Values
	// body is sent as JSON, form as a form; at most one is set.
	body any
	form map[string]string
	// login marks the request for a token, whose errors are RFC 6749's.
	login bool
	// into receives the JSON of a successful answer; nil: it has none.
	into any
	// limit is the most bytes of an answer; 0 means maxBody.
	limit   int64
	success []int
	// redact are secrets in the request that an error must not repeat.
	redact []string
}

func newTransport(caBundle []byte) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(caBundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(caBundle) {
			return nil, errors.New("the CA bundle holds no PEM certificate")
		}
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// newHTTPClient follows no redirect: it would carry credentials to another
// address.
func newHTTPClient(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// call makes a request of the management API in the organization.
func (c *Client) call(ctx context.Context, r request) (int, error) {
	organization, err := c.Organization(ctx)
	if err != nil {
		return 0, err
	}
	r.path = oauth.PathOrganizations + "/" + url.PathEscape(organization) + r.path
	return c.authorized(ctx, r)
}

// authorized makes a request with a token. A token that is refused may have been
// revoked, or its keys been replaced: one more try is made with a new one.
func (c *Client) authorized(ctx context.Context, r request) (int, error) {
	token, err := c.session.token(ctx)
	if err != nil {
		return 0, err
	}
	status, err := c.send(ctx, r, token)
	if ReasonOf(err) != ReasonCredentialsRefused {
		return status, err
	}
	c.session.discard(token)
	if token, err = c.session.token(ctx); err != nil {
		return 0, err
	}
	status, err = c.send(ctx, r, token)
	return status, lackOfPermission(err)
}

// lackOfPermission takes a 401 to a token of a moment ago, which does not say
// that the token is bad, for a missing permission (contract section 3.6).
func lackOfPermission(err error) error {
	e, ok := errors.AsType[*Error](err)
	if ok && e.Reason == ReasonCredentialsRefused && e.Status == http.StatusUnauthorized && !e.tokenRefused {
		e.Reason = ReasonUnauthorized
	}
	return err
}

// send makes one request, with the token when there is one.
func (c *Client) send(ctx context.Context, r request, token string) (int, error) {
	if err := c.limiter.Wait(ctx); err != nil {
		return 0, contextError(ctx, r.op)
	}
	httpRequest, err := c.newRequest(ctx, r, token)
	if err != nil {
		return 0, err
	}
	response, err := c.http.Do(httpRequest)
	if err != nil {
		return 0, c.transportError(ctx, r.op, err)
	}
	defer func() { _ = response.Body.Close() }()
	limit := r.limit
	if limit == 0 {
		limit = maxBody
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return 0, c.transportError(ctx, r.op, err)
	}
	if int64(len(body)) > limit {
		return 0, unexpected(r.op, response.StatusCode, "more than %d MiB", limit>>20)
	}
	return response.StatusCode, c.read(r, response, body, token)
}

func (c *Client) newRequest(ctx context.Context, r request, token string) (*http.Request, error) {
	body, contentType, err := r.encode()
	if err != nil {
		return nil, &Error{Op: r.op, Reason: ReasonInvalid, Message: "the request cannot be written as JSON"}
	}
	address := c.base + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	httpRequest, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, &Error{Op: r.op, Reason: ReasonInvalid, Message: "the address cannot be requested"}
	}
	httpRequest.Header.Set("Accept", "application/json")
	httpRequest.Header.Set("User-Agent", c.userAgent)
	if contentType != "" {
		httpRequest.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		httpRequest.Header.Set("Authorization", "Bearer "+token)
	}
	return httpRequest, nil
}

func (r request) encode() (io.Reader, string, error) {
	switch {
	case r.form != nil:
		form := url.Values{}
		for name, value := range r.form {
			form.Set(name, value)
		}
		return strings.NewReader(form.Encode()), "application/x-www-form-urlencoded", nil
	case r.body != nil:
		body, err := json.Marshal(r.body)
		return bytes.NewReader(body), "application/json", err
	}
	return nil, "", nil
}

// read takes the JSON of a successful answer or makes an *Error.
func (c *Client) read(r request, response *http.Response, body []byte, token string) error {
	if !slices.Contains(r.success, response.StatusCode) {
		return c.refusal(r, response, body, token)
	}
	if r.into == nil {
		return nil
	}
	if !isJSON(response) {
		return unexpected(r.op, response.StatusCode, "no JSON but %s", contentTypeOf(response))
	}
	if err := json.Unmarshal(body, r.into); err != nil {
		// The decoder's error may quote the body.
		return unexpected(r.op, response.StatusCode, "JSON that is cut off or of another shape")
	}
	return nil
}

func isJSON(response *http.Response) bool {
	mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

func contentTypeOf(response *http.Response) string {
	mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || len(mediaType) > 60 {
		return "an unknown content type"
	}
	return mediaType
}
