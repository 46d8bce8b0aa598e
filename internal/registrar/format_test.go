// SPDX-License-Identifier: Apache-2.0

package registrar_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// A server that chooses the format by size answers null or "" for it, and names
// the algorithms. None of it is the operator's.
func TestHowTokensAreWrittenIsTheServersChoice(t *testing.T) {
	for _, format := range []string{`null`, `""`, `"jwt"`} {
		var app oauth.ConnectedApp
		body := `{"client_id": "a", "access_token_format": ` + format + `, "id_token_signed_response_alg": "RS256", "access_token_signed_response_alg": "ES256"}`
		require.NoError(t, json.Unmarshal([]byte(body), &app), format)
		require.Equal(t, "a", app.ClientID)
	}
	text, list, yes := "x", []string{"x"}, true
	sent, err := json.Marshal(registrar.Fields{
		ClientName: &text, GrantTypes: &list, RedirectURIs: &list, Scopes: &list, PublicKeys: &list, Audience: &text, ClientURI: &text,
		PolicyURI: &text, TOSURI: &text, Enabled: &yes, TokenEndpointAuthMethod: &text, ClientID: &text, ClientSecret: &text,
	})
	require.NoError(t, err)
	for _, member := range []string{"access_token_format", "id_token_signed_response_alg", "access_token_signed_response_alg"} {
		require.NotContains(t, string(sent), member)
	}
}
