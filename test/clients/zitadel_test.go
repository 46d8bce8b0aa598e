// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func TestZitadelRelyingParty(t *testing.T) {
	i := serve(t)
	app := register(t, i, webApp)
	party, err := rp.NewRelyingPartyOIDC(t.Context(), i.URL+oauth.IssuerPath, app.ClientID, app.ClientSecret, redirectURI,
		[]string{"openid", "profile", "email", "offline_access"})
	require.NoError(t, err)
	verifier := oauth2.GenerateVerifier()
	user := newPerson(t, i)
	landed, err := url.Parse(user.Authorize(rp.AuthURL("the state", party, rp.WithCodeChallenge(oidc.NewSHACodeChallenge(verifier)))))
	require.NoError(t, err)

	tokens, err := rp.CodeExchange[*oidc.IDTokenClaims](t.Context(), landed.Query().Get("code"), party, rp.WithCodeVerifier(verifier))
	require.NoError(t, err)
	require.Equal(t, tokenservertest.UserID, tokens.IDTokenClaims.Subject)
	require.Equal(t, "ulf@example.com", tokens.IDTokenClaims.Email)

	info, err := rp.Userinfo[*oidc.UserInfo](t.Context(), tokens.AccessToken, tokens.TokenType, tokens.IDTokenClaims.Subject, party)
	require.NoError(t, err)
	require.Equal(t, "Ulf", info.GivenName)

	refreshed, err := rp.RefreshTokens[*oidc.IDTokenClaims](t.Context(), party, tokens.RefreshToken, "", "")
	require.NoError(t, err)
	require.NotEqual(t, tokens.AccessToken, refreshed.AccessToken)

	bye, err := rp.EndSession(t.Context(), party, tokens.IDToken, "https://app.example.com/bye", "see you", "", nil)
	require.NoError(t, err)
	require.NotNil(t, bye, "the library is sent on to a page or to the app")
}
