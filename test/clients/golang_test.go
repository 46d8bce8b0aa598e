// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func TestGolangOAuth2AndGoOIDC(t *testing.T) {
	i := serve(t)
	for name, body := range map[string]string{"a confidential client": webApp, "a public client": publicApp} {
		t.Run(name, func(t *testing.T) {
			app := register(t, i, body)
			provider, err := oidc.NewProvider(t.Context(), i.URL+oauth.IssuerPath)
			require.NoError(t, err)
			config := oauth2.Config{
				ClientID: app.ClientID, ClientSecret: app.ClientSecret, Endpoint: provider.Endpoint(), RedirectURL: redirectURI,
				Scopes: []string{oidc.ScopeOpenID, "profile", oidc.ScopeOfflineAccess},
			}
			verifier := oauth2.GenerateVerifier()
			landed, err := url.Parse(newPerson(t, i).Authorize(
				config.AuthCodeURL("the state", oidc.Nonce("the nonce"), oauth2.S256ChallengeOption(verifier))))
			require.NoError(t, err)
			require.Equal(t, "the state", landed.Query().Get("state"))
			require.Equal(t, i.URL+oauth.IssuerPath, landed.Query().Get("iss"))

			tokens, err := config.Exchange(t.Context(), landed.Query().Get("code"), oauth2.VerifierOption(verifier))
			require.NoError(t, err)
			checkIDToken(t, provider, app.ClientID, tokens)

			_, err = config.Exchange(t.Context(), landed.Query().Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier()))
			require.ErrorContains(t, err, "invalid_grant", "another verifier")

			info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens))
			require.NoError(t, err)
			require.Equal(t, tokenservertest.UserID, info.Subject)

			refreshed, err := config.TokenSource(t.Context(), &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
			require.NoError(t, err)
			require.NotEqual(t, tokens.AccessToken, refreshed.AccessToken)
			require.NotEqual(t, tokens.RefreshToken, refreshed.RefreshToken)
		})
	}
}

func checkIDToken(t *testing.T, provider *oidc.Provider, clientID string, tokens *oauth2.Token) {
	t.Helper()
	raw, _ := tokens.Extra("id_token").(string)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: clientID}).Verify(t.Context(), raw)
	require.NoError(t, err)
	require.Equal(t, "the nonce", idToken.Nonce)
	require.NoError(t, idToken.VerifyAccessToken(tokens.AccessToken), "at_hash")
	var claims struct {
		Subject           string `json:"sub"`
		AuthorizedParty   string `json:"azp"`
		AuthTime          int64  `json:"auth_time"`
		SessionID         string `json:"sid"`
		PreferredUsername string `json:"preferred_username"`
	}
	require.NoError(t, idToken.Claims(&claims))
	require.Equal(t, tokenservertest.UserID, claims.Subject)
	require.Equal(t, clientID, claims.AuthorizedParty)
	require.Equal(t, "ulf", claims.PreferredUsername)
	require.NotZero(t, claims.AuthTime)
	require.NotEmpty(t, claims.SessionID)
}
