// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// adminClient is an HTTP client with a token of the administrator's client.
func adminClient(t *testing.T, i *tokenservertest.Instance) *http.Client {
	t.Helper()
	config := clientcredentials.Config{ClientID: i.AdminClientID, ClientSecret: i.AdminClientSecret, TokenURL: i.URL + oauth.PathToken}
	return config.Client(t.Context())
}

// register creates an app through the management API and returns it with its
// secret.
func register(t *testing.T, i *tokenservertest.Instance, body string) oauth.ConnectedApp {
	t.Helper()
	response, err := adminClient(t, i).Post(i.URL+oauth.PathConnectedApps, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, response.StatusCode, string(text))
	var app oauth.ConnectedApp
	require.NoError(t, json.Unmarshal(text, &app))
	return app
}

const machineApp = `{"client_name":"machine","grant_types":["client_credentials"],"audience":"internal"}`

func TestARegisteredAppGetsATokenThatItsResourcesTake(t *testing.T) {
	i := tokenservertest.Start(t)
	app := register(t, i, machineApp)
	for name, style := range map[string]oauth2.AuthStyle{"in the body": oauth2.AuthStyleInParams, "by Basic": oauth2.AuthStyleInHeader} {
		t.Run(name, func(t *testing.T) {
			config := clientcredentials.Config{
				ClientID: app.ClientID, ClientSecret: app.ClientSecret, TokenURL: i.URL + oauth.PathToken, AuthStyle: style,
			}
			tok, err := config.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, "bearer", tok.TokenType)
			require.Equal(t, "profile", tok.Extra("scope"))
			require.InDelta(t, 3600, tok.Extra("expires_in"), 0)

			response, err := config.Client(t.Context()).Get(i.URL + oauth.PathProfile)
			require.NoError(t, err)
			defer func() { _ = response.Body.Close() }()
			require.Equal(t, http.StatusOK, response.StatusCode)
			var user struct {
				ID string `json:"id"`
			}
			require.NoError(t, json.NewDecoder(response.Body).Decode(&user))
			require.Equal(t, tokenservertest.OwnerID, user.ID, "an app's profile is its owner's")
		})
	}
}

func TestAnIndependentVerifierTakesAnAccessToken(t *testing.T) {
	i := tokenservertest.Start(t)
	app := register(t, i, machineApp)
	provider, err := oidc.NewProvider(t.Context(), i.URL+oauth.IssuerPath)
	require.NoError(t, err)
	config := clientcredentials.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, TokenURL: provider.Endpoint().TokenURL}
	tok, err := config.Token(t.Context())
	require.NoError(t, err)

	verified, err := provider.Verifier(&oidc.Config{ClientID: i.URL + oauth.IssuerPath, SupportedSigningAlgs: []string{"ES256"}}).
		Verify(t.Context(), tok.AccessToken)
	require.NoError(t, err)
	require.Equal(t, app.ClientID, verified.Subject)
	var claims struct {
		ClientID string `json:"client_id"`
		OrgID    string `json:"org_id"`
		Scope    string `json:"scope"`
		ID       string `json:"jti"`
	}
	require.NoError(t, verified.Claims(&claims))
	require.Equal(t, app.ClientID, claims.ClientID)
	require.Equal(t, tokenservertest.OrgID, claims.OrgID)
	require.Equal(t, "profile", claims.Scope)
	require.NotEmpty(t, claims.ID)
}

func TestBothMetadataPathsSayTheSame(t *testing.T) {
	i := tokenservertest.Start(t)
	var documents []string
	for _, path := range []string{oauth.PathDiscovery, oauth.PathMetadata} {
		response, err := http.Get(i.URL + path)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, "application/json", response.Header.Get("Content-Type"))
		require.Equal(t, "*", response.Header.Get("Access-Control-Allow-Origin"))
		documents = append(documents, string(text))
	}
	require.Equal(t, documents[0], documents[1])
	var m oauth.Metadata
	require.NoError(t, json.Unmarshal([]byte(documents[0]), &m))
	require.Equal(t, i.URL+oauth.IssuerPath, m.Issuer)
	require.Contains(t, m.GrantTypesSupported, oauth.GrantClientCredentials)
	require.Contains(t, m.Extensions, oauth.ExtensionExternalID)
	require.Contains(t, m.ScopesSupported, "profile")
	require.NotEmpty(t, m.InstallationID)
	for _, unsupported := range []string{"request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"} {
		require.Contains(t, documents[0], `"`+unsupported+`":false`, "left out, the second would mean true")
	}
}

func post(t *testing.T, target, contentType, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	require.NoError(t, err)
	for name, values := range header {
		request.Header[name] = values
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(text)
}

// manyMembers is an object with another in it that has too many.
func manyMembers() string {
	var inner []string
	for i := range 100 {
		inner = append(inner, fmt.Sprintf(`"m%d":1`, i))
	}
	return `{"x":{` + strings.Join(inner, ",") + `}}`
}

func basic(id, secret string) http.Header {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, secret)
	return r.Header
}

func TestTokenEndpointRefusesBadRequests(t *testing.T) {
	i := tokenservertest.Start(t)
	app := register(t, i, machineApp)
	web := register(t, i, `{"client_name":"web","grant_types":["authorization_code"],"redirect_uris":["https://example.com/"],"scopes":["profile"]}`)
	const form, jsonType = "application/x-www-form-urlencoded", "application/json"
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {app.ClientID}, "client_secret": {app.ClientSecret}}
	with := func(name, value string) string {
		v := url.Values{}
		for n, old := range good {
			v[n] = old
		}
		v.Set(name, value)
		return v.Encode()
	}
	for name, row := range map[string]struct {
		contentType, body string
		header            http.Header
		status            int
		code, description string
	}{
		"no body":                     {form, "", nil, 400, "invalid_request", "the parameter grant_type is missing"},
		"an unknown content type":     {"text/plain", good.Encode(), nil, 415, "invalid_request", "Content-Type must be"},
		"no content type":             {"", good.Encode(), nil, 415, "invalid_request", "Content-Type must be"},
		"another charset":             {form + "; charset=latin1", good.Encode(), nil, 415, "invalid_request", "in UTF-8"},
		"malformed JSON":              {jsonType, `{"grant_type":`, nil, 400, "invalid_request", "not a valid JSON object"},
		"a JSON array":                {jsonType, `["grant_type"]`, nil, 400, "invalid_request", "not a valid JSON object"},
		"text after the JSON":         {jsonType, `{} {}`, nil, 400, "invalid_request", "after top-level value"},
		"a number for a string":       {jsonType, `{"grant_type":"client_credentials","client_id":7}`, nil, 400, "invalid_request", "client_id must be a string"},
		"a JSON member twice":         {jsonType, `{"grant_type":"a","grant_type":"b"}`, nil, 400, "invalid_request", "grant_type is given more than once"},
		"a form parameter twice":      {form, "grant_type=a&grant_type=b", nil, 400, "invalid_request", "grant_type is given more than once"},
		"a broken percent escape":     {form, "grant_type=%zz", nil, 400, "unsupported_grant_type", "not supported"},
		"too many parameters":         {form, strings.Repeat("x=1&", 101), nil, 400, "invalid_request", "more than 100 parameters"},
		"too many members":            {jsonType, manyMembers(), nil, 400, "invalid_request", "more than 100 members"},
		"bad UTF-8":                   {form, with("scope", "\xff"), nil, 400, "invalid_request", "scope is not valid UTF-8"},
		"NUL":                         {form, with("scope", "a\x00"), nil, 400, "invalid_request", "scope has a NUL character"},
		"a body over the limit":       {form, "x=" + strings.Repeat("a", 1<<20), nil, 413, "invalid_request", "longer than 64 KiB"},
		"an unknown grant":            {form, with("grant_type", "implicit"), nil, 400, "unsupported_grant_type", "not supported"},
		"a grant the app has not":     {form, url.Values{"grant_type": {"client_credentials"}, "client_id": {web.ClientID}, "client_secret": {web.ClientSecret}}.Encode(), nil, 400, "unauthorized_client", "may not use"},
		"an unknown client":           {form, with("client_id", "nobody"), nil, 401, "invalid_client", "unknown or its secret is wrong"},
		"a wrong secret":              {form, with("client_secret", "wrong"), nil, 401, "invalid_client", "unknown or its secret is wrong"},
		"no secret":                   {form, with("client_secret", ""), nil, 401, "invalid_client", "authentication is missing"},
		"a wrong secret by Basic":     {form, "grant_type=client_credentials", basic(app.ClientID, "wrong"), 401, "invalid_client", "unknown or its secret is wrong"},
		"Basic that is not base64":    {form, "grant_type=client_credentials", http.Header{"Authorization": {"Basic !"}}, 401, "invalid_client", "cannot be read"},
		"Basic against the body":      {form, good.Encode(), basic(app.ClientID, "other"), 400, "invalid_request", "client_secret differs"},
		"another client in the body":  {form, with("client_id", "x"), basic(app.ClientID, app.ClientSecret), 400, "invalid_request", "client_id differs"},
		"a scope the app has not":     {form, with("scope", "full"), nil, 400, "invalid_scope", "the scope full is not"},
		"a secret and an assertion":   {form, with("client_assertion", "x"), nil, 400, "invalid_request", "exclude each other"},
		"an assertion of wrong shape": {form, url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {oauth.AssertionTypeJWTBearer}, "client_assertion": {"a.b.c"}}.Encode(), nil, 401, "invalid_client", "not accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := post(t, i.URL+oauth.PathToken, row.contentType, row.body, row.header)
			require.Equal(t, row.status, response.StatusCode, body)
			var failure oauth.ErrorResponse
			require.NoError(t, json.Unmarshal([]byte(body), &failure), body)
			require.Equal(t, row.code, failure.Error)
			require.Contains(t, failure.ErrorDescription, row.description)
			require.Equal(t, "application/json", response.Header.Get("Content-Type"))
			require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
			usedBasic := row.header != nil && row.status == http.StatusUnauthorized
			require.Equal(t, usedBasic, response.Header.Get("WWW-Authenticate") != "", "a client that used Basic is told so")
			require.NotContains(t, body, app.ClientSecret)
		})
	}
}

func TestTokenEndpointTakesWhatRealClientsSend(t *testing.T) {
	i := tokenservertest.Start(t)
	app := register(t, i, machineApp)
	jsonBody := `{"client_id":"` + app.ClientID + `","client_secret":"` + app.ClientSecret + `","grant_type":"client_credentials","unknown":{"a":[1]}}`
	formBody := url.Values{"grant_type": {"client_credentials"}, "client_id": {app.ClientID}, "client_secret": {app.ClientSecret}}.Encode()
	for name, row := range map[string]struct {
		contentType, body string
		header            http.Header
	}{
		"the vendor's JSON body":              {"application/json", jsonBody, nil},
		"JSON with a charset":                 {"application/json;charset=UTF-8", jsonBody, nil},
		"a form with a charset":               {"application/x-www-form-urlencoded;charset=UTF-8", formBody, nil},
		"a dead token in the header":          {"application/json", jsonBody, http.Header{"Authorization": {"Bearer dead"}}},
		"JSON in utf8 without a hyphen":       {"application/json; charset=\"UTF8\"", jsonBody, nil},
		"a form in utf8 without a hyphen":     {"application/x-www-form-urlencoded; charset=utf8", formBody, nil},
		"parameters of others, twice":         {"application/x-www-form-urlencoded", formBody + "&resource=a&resource=b&;=%&Scope=full", nil},
		"parameters without a value":          {"application/x-www-form-urlencoded", formBody + "&scope=&scope=&client_assertion=&code", nil},
		"members without a value":             {"application/json", strings.Replace(jsonBody, "{", `{"scope":"","code":null,`, 1), nil},
		"Basic without credentials":           {"application/x-www-form-urlencoded", formBody, http.Header{"Authorization": {"Basic "}}},
		"Basic and the same pair in the body": {"application/x-www-form-urlencoded", formBody, basic(app.ClientID, app.ClientSecret)},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := post(t, i.URL+oauth.PathToken, row.contentType, row.body, row.header)
			require.Equal(t, http.StatusOK, response.StatusCode, body)
			var tok oauth.TokenResponse
			require.NoError(t, json.Unmarshal([]byte(body), &tok))
			require.NotEmpty(t, tok.AccessToken)
			require.Equal(t, "bearer", tok.TokenType)
		})
	}
}

func TestATamperedOrDeadTokenIsRefused(t *testing.T) {
	i := tokenservertest.Start(t)
	app := register(t, i, machineApp)
	config := clientcredentials.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, TokenURL: i.URL + oauth.PathToken}
	tok, err := config.Token(t.Context())
	require.NoError(t, err)
	profile := func(raw string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.URL+oauth.PathProfile, nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "bearer "+raw)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		if response.StatusCode == http.StatusUnauthorized {
			require.Contains(t, response.Header.Get("WWW-Authenticate"), "invalid_token")
		}
		return response.StatusCode
	}
	parts := strings.Split(tok.AccessToken, ".")
	require.Equal(t, http.StatusOK, profile(tok.AccessToken))
	require.Equal(t, http.StatusUnauthorized, profile(parts[0]+"."+parts[1]+"x."+parts[2]), "changed payload")
	require.Equal(t, http.StatusUnauthorized, profile(parts[0]+"."+parts[1]+"."), "no signature")
	require.Equal(t, http.StatusUnauthorized, profile("eyJhbGciOiJub25lIn0."+parts[1]+"."), "alg none")

	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, i.URL+oauth.PathConnectedApps+"/"+app.ClientID, nil)
	require.NoError(t, err)
	response, err := adminClient(t, i).Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusNoContent, response.StatusCode)
	require.Equal(t, http.StatusUnauthorized, profile(tok.AccessToken), "a deleted app's token")
}

func TestAnAppWithGoogleWIFGetsAnIDTokenOfItsOwn(t *testing.T) {
	i := tokenservertest.Start(t)
	for name, row := range map[string]struct {
		scopes string
		gets   bool
	}{
		"with the scope":    {`["openid:google_wif"]`, true},
		"without the scope": {`[]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			app := register(t, i, `{"client_name":"machine","grant_types":["client_credentials"],"audience":"internal","scopes":`+row.scopes+`}`)
			config := clientcredentials.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, TokenURL: i.URL + oauth.PathToken}
			tokens, err := config.Token(t.Context())
			require.NoError(t, err)
			raw, _ := tokens.Extra("id_token").(string)
			require.Equal(t, row.gets, raw != "")
			if !row.gets {
				return
			}
			provider, err := oidc.NewProvider(t.Context(), i.URL+oauth.IssuerPath)
			require.NoError(t, err)
			idToken, err := provider.Verifier(&oidc.Config{ClientID: app.ClientID}).Verify(t.Context(), raw)
			require.NoError(t, err)
			require.Equal(t, app.ClientID, idToken.Subject)
		})
	}
}
