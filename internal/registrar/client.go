// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	defaultTimeout           = 15 * time.Second
	defaultRequestsPerSecond = 50
	defaultUserAgent         = "connectedapps-manager"
)

// Config says which server a Client talks to and as whom.
type Config struct {
	// URL is the server's public URL without a slash at the end. The issuer
	// must be this URL with /accounts/api/v2/oauth2.
	URL string
	// InternalURL is where to connect; empty means URL.
	InternalURL string
	// OrganizationID is the organization whose apps are managed; empty means
	// the one of the credentials, which is asked for once.
	OrganizationID string
	// ClientID and ClientSecret are what to log in with.
	ClientID     string
	ClientSecret string
	// Assertion returns what to log in with in place of a secret: a token of the
	// caller's own (https://www.rfc-editor.org/rfc/rfc7523#section-2.2). Nil: the
	// secret is used.
	Assertion func(context.Context) (string, error) `json:"-"`
	// Token is an access token to call with; empty: Client logs in.
	Token string `json:"-"`
	// CABundle holds PEM certificates to trust instead of the system's.
	CABundle []byte
	// RequestsPerSecond bounds all requests, the log-in included; 0 means 50,
	// until a server turns out to have our extensions: then there is no limit.
	RequestsPerSecond float64
	// Timeout of one request, from connecting to the last byte; 0 means 15 s.
	Timeout time.Duration
	// Transport makes of the transport one that does more, such as tracing; nil:
	// the transport serves as it is.
	Transport func(http.RoundTripper) http.RoundTripper `json:"-"`
	// UserAgent names the caller to the server; empty means
	// connectedapps-manager.
	UserAgent string
}

// Client calls the management API of one token server. It is safe for use by
// several goroutines. All its errors are *Error, but for those of a context that
// the caller ended.
type Client struct {
	issuer       string
	base         string
	organization atomic.Pointer[string]
	http         *http.Client
	limiter      *rate.Limiter
	// limited tells that the configuration sets the limit, whatever the server is.
	limited   bool
	session   *session
	userAgent string
	redact    *redactor
}

// New makes a Client without asking the server anything. The error names what is
// wrong with the configuration.
func New(c Config) (*Client, error) {
	if err := errors.Join(checkURL("url", c.URL), checkURL("internalURL", cmp.Or(c.InternalURL, c.URL))); err != nil {
		return nil, err
	}
	transport, err := newTransport(c.CABundle)
	if err != nil {
		return nil, err
	}
	var traced http.RoundTripper = transport
	if c.Transport != nil {
		traced = c.Transport(transport)
	}
	requests := cmp.Or(c.RequestsPerSecond, defaultRequestsPerSecond)
	client := &Client{
		issuer:    c.URL + oauth.IssuerPath,
		base:      cmp.Or(c.InternalURL, c.URL),
		http:      newHTTPClient(traced, cmp.Or(c.Timeout, defaultTimeout)),
		limiter:   rate.NewLimiter(rate.Limit(requests), max(1, int(requests))),
		limited:   c.RequestsPerSecond != 0,
		userAgent: cmp.Or(c.UserAgent, defaultUserAgent),
		redact:    newRedactor(c.ClientSecret, c.Token),
	}
	client.session = newSession(client, c)
	if c.OrganizationID != "" {
		client.organization.Store(&c.OrganizationID)
	}
	return client, nil
}

// Issuer is the name the server must have in its discovery document.
func (c *Client) Issuer() string { return c.issuer }

// IsOwn tells whether a client id is the one that c logs in with.
func (c *Client) IsOwn(clientID string) bool { return clientID == c.session.clientID }

// Close ends idle connections. Requests in flight go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func checkURL(name, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return fmt.Errorf("%s is not an http or https URL", name)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(raw, "/"):
		return fmt.Errorf("%s must have no user name, query, fragment or slash at the end", name)
	}
	return nil
}
