// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
)

// full is an app of which no member is as a new app's.
const full = `{
	"client_name": "GitProxy", "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": ["com.example.app:/callback"],
	"post_logout_redirect_uris": ["com.example.app:/bye"], "scopes": ["profile", "offline_access"], "public_keys": ["-----BEGIN PUBLIC KEY-----"],
	"audience": "everyone", "client_uri": "https://a.example/", "policy_uri": "https://b.example/", "tos_uri": "https://c.example/", "enabled": true,
	"token_endpoint_auth_method": "none", "access_token_format": "opaque", "access_token_signed_response_alg": "RS256",
	"id_token_signed_response_alg": "ES256", "identity_providers": ["corp"], "skip_user_consent": true, "assertions_without_expiry": true,
	"refresh_grace_seconds": 0, "federated_identities": [{"issuer_name": "prod", "subject": "system:serviceaccount:payments:gitproxy"}]}`

func sent(t *testing.T, body any) map[string]any {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	var members map[string]any
	require.NoError(t, json.Unmarshal(data, &members))
	return members
}

// What is read of an app, and sent because all of it differs, is the same app.
func TestNothingIsLostBetweenThePlanAndTheServer(t *testing.T) {
	var app oauth.ConnectedApp
	require.NoError(t, json.Unmarshal([]byte(full), &app))
	want := plan.ClientOf(&app)
	require.JSONEq(t, full, string(must(json.Marshal(someFields(want, plan.Diff(plan.Client{}, want), false)))))
	require.Len(t, members, len(plan.Diff(plan.Client{}, want))+1, "clientType and tokenEndpointAuthMethod are one member")
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func TestWhatARegistrationSays(t *testing.T) {
	least := plan.Client{Name: "a/b", GrantTypes: []string{"client_credentials"}, Audience: "internal", Enabled: true}
	require.Equal(t, sent(t, json.RawMessage(`{"client_name": "a/b", "grant_types": ["client_credentials"], "redirect_uris": [], "scopes": [],
		"public_keys": [], "audience": "internal", "enabled": true}`)), sent(t, allFields(least)), "nothing that a plain platform does not know")

	var app oauth.ConnectedApp
	require.NoError(t, json.Unmarshal([]byte(full), &app))
	want := sent(t, json.RawMessage(full))
	delete(want, "skip_user_consent") // not everybody's to say
	require.Equal(t, want, sent(t, allFields(plan.ClientOf(&app))))
}

// What gives power is taken away by a value, not by silence.
func TestWhatIsSwitchedOffIsSent(t *testing.T) {
	live := plan.Client{
		PostLogoutRedirectURIs: []string{"https://a.example/"}, IdentityProviders: []string{"corp"}, SkipUserConsent: true, AssertionsWithoutExpiry: true,
	}
	require.Equal(t, map[string]any{
		"post_logout_redirect_uris": []any{}, "identity_providers": []any{}, "skip_user_consent": false, "assertions_without_expiry": false,
	}, sent(t, someFields(plan.Client{}, plan.Diff(live, plan.Client{}), false)))
}
