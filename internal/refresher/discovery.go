// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// discover reads an issuer's metadata, where OpenID Connect Discovery 1.0 and RFC
// 8414 have them.
// https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationRequest
// https://www.rfc-editor.org/rfc/rfc8414#section-3.1
func discover(ctx context.Context, client *http.Client, issuer string) (*endpoint, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, credentialsErrorf("issuer-url cannot be requested")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	base := u.Scheme + "://" + u.Host
	var refusal error
	for _, address := range []string{
		base + path + "/.well-known/openid-configuration",
		base + "/.well-known/oauth-authorization-server" + path,
	} {
		found, err := readMetadata(ctx, client, address, issuer)
		if err == nil {
			return found, nil
		}
		if ReasonOf(err) != ReasonResponseInvalid {
			return nil, err
		}
		if refusal == nil {
			refusal = err
		}
	}
	return nil, refusal
}

// readMetadata reads one document, whose issuer must be the one that was asked: it
// says where secrets are sent.
func readMetadata(ctx context.Context, client *http.Client, address, issuer string) (*endpoint, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, credentialsErrorf("issuer-url cannot be requested")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	response, err := client.Do(request)
	if err != nil {
		return nil, unavailable("issuer", request.URL.Host, err)
	}
	defer func() { _ = response.Body.Close() }()
	invalid := func(format string, args ...any) error {
		return &Error{
			Reason: ReasonResponseInvalid, Status: response.StatusCode,
			Err: fmt.Errorf("metadata at %s "+format, append([]any{address}, args...)...),
		}
	}
	switch code := response.StatusCode; {
	case code >= 500 || code == http.StatusTooManyRequests:
		return nil, &Error{
			Reason: ReasonServerUnavailable, Status: code, RetryAfter: retryAfter(response.Header.Get("Retry-After")),
			Err: fmt.Errorf("metadata at %s cannot be read: the server answered %d", address, code),
		}
	case code != http.StatusOK:
		return nil, invalid("cannot be read: the server answered %d", code)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	if err != nil {
		return nil, unavailable("issuer", request.URL.Host, err)
	}
	var metadata struct {
		Issuer        string   `json:"issuer"`
		TokenEndpoint string   `json:"token_endpoint"`
		Methods       []string `json:"token_endpoint_auth_methods_supported"`
	}
	if len(body) > maxResponse || json.Unmarshal(body, &metadata) != nil {
		return nil, invalid("are no metadata document")
	}
	if metadata.Issuer != issuer {
		return nil, invalid("are of the issuer %.200q, not %q: name the issuer as its server does", metadata.Issuer, issuer)
	}
	if problems := urlProblems("token_endpoint", metadata.TokenEndpoint); len(problems) > 0 {
		return nil, invalid("are of no use: %s", problems[0])
	}
	if metadata.Methods == nil {
		// RFC 8414 section 2: "If omitted, the default is client_secret_basic".
		metadata.Methods = []string{"client_secret_basic"}
	}
	return &endpoint{url: metadata.TokenEndpoint, issuer: issuer, methods: metadata.Methods}, nil
}
