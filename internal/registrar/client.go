// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	defaultTimeout = 15 * time.Second
	// maxAnswer bounds a page of 100 apps, each as large as a server takes it.
	maxAnswer  = 64 << 20
	maxMessage = 512
)

// Config says how to reach one token server.
type Config struct {
	// URL is the server's public URL; its issuer must match.
	URL string
	// InternalURL is where to connect instead; empty: URL.
	InternalURL string
	// OrganizationID is whose apps are managed; empty: the organization of the
	// credentials.
	OrganizationID string
	// CABundle is PEM with the authorities to trust; empty: the system's.
	CABundle []byte
	// Credentials returns the client id and secret to log in with. It is asked
	// at every login, so that a changed Secret is seen.
	Credentials func(ctx context.Context) (clientID, clientSecret string, err error)
	// Timeout bounds one call; 0: 15 s.
	Timeout time.Duration
	// UserAgent names the program to the server; empty: connectedapps.
	UserAgent string
}

// Client calls one token server. It is safe for concurrent use.
type Client struct {
	config Config
	base   string
	http   *http.Client
	login  login
}

// New checks config and makes a client. It calls nobody.
func New(config Config) (*Client, error) {
	base := config.InternalURL
	if base == "" {
		base = config.URL
	}
	for _, address := range []string{config.URL, base} {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("reading the server's URL: %q is not an http or https address", address)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	if len(config.CABundle) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(config.CABundle) {
			return nil, errors.New("reading the CA bundle: it holds no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	if config.UserAgent == "" {
		config.UserAgent = "connectedapps"
	}
	c := &Client{config: config, base: strings.TrimRight(base, "/")}
	c.http = &http.Client{
		Transport: transport,
		Timeout:   config.Timeout,
		// A redirect would carry the credentials to a host nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one call of the API.
type request struct {
	doing  string
	method string
	path   string
	query  url.Values
	// body is sent as JSON; nil: none.
	body any
	// public is a call without an access token.
	public bool
}

// do calls the API and decodes a success into answer, unless that is nil. It
// returns the status. A token that the server no longer takes is replaced once.
func (c *Client) do(ctx context.Context, q request, answer any) (int, error) {
	for attempt := 0; ; attempt++ {
		token := ""
		if !q.public {
			var err error
			if token, err = c.login.token(ctx, c); err != nil {
				return 0, err
			}
		}
		status, err := c.once(ctx, q, token, answer)
		if status != http.StatusUnauthorized || q.public || attempt > 0 {
			return status, err
		}
		c.login.forget(token)
	}
}

func (c *Client) once(ctx context.Context, q request, token string, answer any) (int, error) {
	r, err := c.newRequest(ctx, q, token)
	if err != nil {
		return 0, &Error{Doing: q.doing, Reason: ReasonRejected, Err: err}
	}
	status, body, err := c.send(r, q.doing)
	if err != nil {
		return status, err
	}
	if answer == nil {
		return status, nil
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return status, &Error{Doing: q.doing, Reason: ReasonInvalidAnswer, Status: status, Message: "the answer is not the JSON that was expected", Err: err}
	}
	return status, nil
}

func (c *Client) newRequest(ctx context.Context, q request, token string) (*http.Request, error) {
	address := c.base + q.path
	if len(q.query) > 0 {
		address += "?" + q.query.Encode()
	}
	var body io.Reader
	if q.body != nil {
		data, err := json.Marshal(q.body)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, address, body)
	if err != nil {
		return nil, errors.New("the request has no valid address")
	}
	if q.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.config.UserAgent)
	return r, nil
}

// send returns the body of a success, or an Error.
func (c *Client) send(r *http.Request, doing string) (int, []byte, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, nil, transportError(doing, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, transportError(doing, err)
	}
	status := answer.StatusCode
	if status/100 != 2 {
		return status, nil, failure(doing, answer, body)
	}
	if len(body) > maxAnswer || len(body) > 0 && !isJSON(answer.Header) {
		return status, nil, &Error{Doing: doing, Reason: ReasonInvalidAnswer, Status: status, Message: "the answer is not JSON; is this the address of a token server?"}
	}
	return status, body, nil
}

// failure reads the error body. A client error that is not this API's comes
// from something in between, and says nothing about what was asked for: a 404
// of a proxy must never pass for a deleted app.
func failure(doing string, answer *http.Response, body []byte) error {
	e := &Error{Doing: doing, Reason: statusReason(answer.StatusCode), Status: answer.StatusCode, RetryAfter: retryAfter(answer.Header)}
	var said struct {
		oauth.ManagementError
		oauth.ErrorResponse
	}
	ours := isJSON(answer.Header) && json.Unmarshal(body, &said) == nil && (said.Message != "" || said.Error != "")
	switch {
	case ours && said.Message != "":
		e.Message = printable(said.Message)
	case ours:
		e.Message = printable(strings.TrimSuffix(said.Error+": "+said.ErrorDescription, ": "))
	case e.Reason == ReasonServerError, e.Reason == ReasonRateLimited:
		e.Message = fmt.Sprintf("the server answered with status %d", answer.StatusCode)
	default:
		e.Reason = ReasonInvalidAnswer
		e.Message = fmt.Sprintf("status %d with a body that is not this API's; is this the address of a token server?", answer.StatusCode)
	}
	return e
}

func isJSON(header http.Header) bool {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

func retryAfter(header http.Header) time.Duration {
	const most = time.Hour
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds <= 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, most)
}

// printable makes what a server said fit for a condition.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	if len(s) <= maxMessage {
		return s
	}
	cut := maxMessage
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
