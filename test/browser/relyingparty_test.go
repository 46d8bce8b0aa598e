// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// startServer starts a token server whose users have tokenservertest.Password.
func startServer(t *testing.T, options ...tokenservertest.Option) *tokenservertest.Instance {
	t.Helper()
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	return tokenservertest.Start(t, append(options, tokenservertest.WithPasswordHash(hash))...)
}

// relyingParty is an application that signs people in: independent client
// libraries on another site than the token server's.
type relyingParty struct {
	t        *testing.T
	server   *tokenservertest.Instance
	url      string
	app      oauth.ConnectedApp
	config   oauth2.Config
	provider *oidc.Provider
	// answers receives what comes back to the redirect URI.
	answers chan url.Values
	// form is what /post sends to the authorization endpoint.
	form url.Values
}

func newRelyingParty(t *testing.T, server *tokenservertest.Instance, change func(*oauth.ConnectedApp)) *relyingParty {
	t.Helper()
	p := &relyingParty{t: t, server: server, answers: make(chan url.Values, 10)}
	mux := http.NewServeMux()
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		p.answers <- r.URL.Query()
		p.page(w, "Back at the app")
	})
	mux.HandleFunc("/goodbye", func(w http.ResponseWriter, r *http.Request) { p.page(w, "Goodbye, state "+r.URL.Query().Get("state")) })
	mux.HandleFunc("/post", p.postForm)
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	_, port, err := net.SplitHostPort(site.Listener.Addr().String())
	require.NoError(t, err)
	p.url = "http://localhost:" + port // another site than 127.0.0.1
	p.register(change)
	p.provider, err = oidc.NewProvider(t.Context(), server.URL+oauth.IssuerPath)
	require.NoError(t, err)
	p.config = oauth2.Config{ClientID: p.app.ClientID, ClientSecret: p.app.ClientSecret, Endpoint: p.provider.Endpoint(),
		RedirectURL: p.url + "/callback", Scopes: p.app.Scopes}
	return p
}

func (p *relyingParty) page(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><title>App</title><h1>%s</h1>`, template.HTMLEscapeString(text))
}

func (p *relyingParty) postForm(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><title>App</title><form method="post" action="%s">`, p.config.Endpoint.AuthURL)
	for name, values := range p.form {
		_, _ = fmt.Fprintf(w, `<input type="hidden" name="%s" value="%s">`, name, template.HTMLEscapeString(values[0]))
	}
	_, _ = fmt.Fprint(w, `<button>Sign in with Connected Apps</button></form>`)
}

// register creates the app through the management API.
func (p *relyingParty) register(change func(*oauth.ConnectedApp)) {
	p.t.Helper()
	app := oauth.ConnectedApp{ClientName: "GitProxy", GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
		RedirectURIs: []string{p.url + "/callback"}, PostLogoutRedirectURIs: []string{p.url + "/goodbye"}, PublicKeys: []string{},
		Scopes: []string{"openid", "profile", "email", "offline_access"}, Audience: oauth.AudienceInternal,
		ExternalID: "cluster/payments/gitproxy/0000"}
	if change != nil {
		change(&app)
	}
	fields := map[string]any{"client_name": app.ClientName, "grant_types": app.GrantTypes, "redirect_uris": app.RedirectURIs,
		"post_logout_redirect_uris": app.PostLogoutRedirectURIs, "scopes": app.Scopes, "audience": app.Audience, "external_id": app.ExternalID}
	if app.TokenEndpointAuthMethod != "" {
		fields["token_endpoint_auth_method"] = app.TokenEndpointAuthMethod
	}
	body, err := json.Marshal(fields)
	require.NoError(p.t, err)
	administrator := clientcredentials.Config{ClientID: p.server.AdminClientID, ClientSecret: p.server.AdminClientSecret,
		TokenURL: p.server.URL + oauth.PathToken}
	response, err := administrator.Client(p.t.Context()).Post(p.server.URL+oauth.PathConnectedApps, "application/json", bytes.NewReader(body))
	require.NoError(p.t, err)
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusCreated, response.StatusCode, string(answer))
	require.NoError(p.t, json.Unmarshal(answer, &p.app))
}

// answer is what came back to the redirect URI.
func (p *relyingParty) answer() url.Values {
	p.t.Helper()
	select {
	case values := <-p.answers:
		return values
	default:
		require.FailNow(p.t, "nothing came back to the app")
		return nil
	}
}

// start opens the authorization endpoint and returns the PKCE verifier.
func (p *relyingParty) start(b *tab, options ...oauth2.AuthCodeOption) string {
	p.t.Helper()
	verifier := oauth2.GenerateVerifier()
	options = append([]oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), oidc.Nonce("nonce-1")}, options...)
	b.open(p.config.AuthCodeURL("state-1", options...))
	return verifier
}

// exchange redeems the code that came back.
func (p *relyingParty) exchange(verifier string) *oauth2.Token {
	p.t.Helper()
	answer := p.answer()
	require.Equal(p.t, "state-1", answer.Get("state"), answer)
	require.Equal(p.t, p.server.URL+oauth.IssuerPath, answer.Get("iss"))
	token, err := p.config.Exchange(p.t.Context(), answer.Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(p.t, err)
	return token
}

// verify checks the id token with an independent library.
func (p *relyingParty) verify(token *oauth2.Token) *oidc.IDToken {
	p.t.Helper()
	raw, ok := token.Extra("id_token").(string)
	require.True(p.t, ok, "the answer holds an id token")
	verified, err := p.provider.Verifier(&oidc.Config{ClientID: p.app.ClientID}).Verify(p.t.Context(), raw)
	require.NoError(p.t, err)
	require.NoError(p.t, verified.VerifyAccessToken(token.AccessToken))
	return verified
}

// signIn fills the sign-in page as Ulf.
func signIn(b *tab) {
	b.t.Helper()
	require.Contains(b.t, b.url(), "/accounts/sign-in")
	b.fill("username", "ulf")
	b.fill("password", tokenservertest.Password)
	b.press("Sign in")
}
