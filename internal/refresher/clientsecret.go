// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

// Encoding is how the parameters of a token request are written.
type Encoding string

// The encodings. The zero value means form.
const (
	// EncodingForm is application/x-www-form-urlencoded, as RFC 6749 asks.
	EncodingForm Encoding = "form"
	// EncodingJSON is a JSON object, as the vendor's own examples send.
	EncodingJSON Encoding = "json"
)

// ClientSecretSource asks the token endpoint for a token by the client
// credentials grant (https://www.rfc-editor.org/rfc/rfc6749#section-4.4). It
// keeps nothing between requests: credentials, certificates and connections are
// made anew each time, so that every rotation is taken up.
type ClientSecretSource struct {
	// Credentials is asked before every request.
	Credentials CredentialsReader
	// Scope is the space-delimited scope to ask for; empty asks for all the
	// app has.
	Scope string
	// Encoding of the request.
	Encoding Encoding
	// Timeout of one request, from connecting to the last byte; 0 means 15 s.
	Timeout time.Duration
}

var _ Source = (*ClientSecretSource)(nil)

// Purpose implements Source.
func (s *ClientSecretSource) Purpose(ctx context.Context) (Purpose, error) {
	c, err := s.Credentials(ctx)
	if err != nil {
		return "", asCredentialsError(err)
	}
	return NewPurpose([]string{c.TokenURL, c.ClientID, s.Scope}, []string{c.ClientSecret}), nil
}

// Token implements Source.
func (s *ClientSecretSource) Token(ctx context.Context) (*Token, error) {
	credentials, err := s.Credentials(ctx)
	if err != nil {
		return nil, asCredentialsError(err)
	}
	request, err := s.request(ctx, credentials)
	if err != nil {
		return nil, err
	}
	client, err := newHTTPClient(credentials.CABundle, s.Timeout)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()

	sent := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return nil, unavailable(request.URL.Host, err)
	}
	defer func() { _ = response.Body.Close() }()
	return readToken(response, sent, s.Scope, credentials.ClientSecret)
}

func (s *ClientSecretSource) request(ctx context.Context, c *Credentials) (*http.Request, error) {
	parameters := map[string]string{"grant_type": oauth.GrantClientCredentials}
	if s.Scope != "" {
		parameters["scope"] = s.Scope
	}
	basic := c.AuthMethod == oauth.AuthMethodSecretBasic
	if !basic {
		parameters["client_id"] = c.ClientID
		parameters["client_secret"] = c.ClientSecret
	}
	body, contentType := s.encode(parameters)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.TokenURL, strings.NewReader(body))
	if err != nil {
		return nil, credentialsErrorf("token-url cannot be requested")
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "connectedapps-refresher")
	if basic {
		// RFC 6749 section 2.3.1: both are form-encoded first.
		request.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	}
	return request, nil
}

func (s *ClientSecretSource) encode(parameters map[string]string) (body, contentType string) {
	if s.Encoding == EncodingJSON {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(parameters) // a map of strings into memory cannot fail
		return b.String(), "application/json"
	}
	form := url.Values{}
	for name, value := range parameters {
		form.Set(name, value)
	}
	return form.Encode(), "application/x-www-form-urlencoded"
}
