// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// member is what the kind makes of a member of the management API.
type member struct {
	// field of the spec; empty: there is none, because of reason.
	field, reason string
	// rule is the field of an access rule that limits it, or why there is none.
	rule, noRule string
	// set gives the field a value that is not the one of an empty spec.
	set func(*v1alpha1.ConnectedAppSpec)
}

const (
	noPower = "gives nobody anything"
	ofUs    = "the manager's own mark"
	dead    = "kept by servers for clients that send it, without a meaning"
)

// The management API on the left, the kind on the right: a member that the API
// gets needs a row here, and so does a field that the kind gets.
var kind = map[string]member{
	"client_name":   {field: "clientName", noRule: noPower, set: func(s *v1alpha1.ConnectedAppSpec) { s.ClientName = "x" }},
	"grant_types":   {field: "grantTypes", rule: "grantTypes", set: func(s *v1alpha1.ConnectedAppSpec) { s.GrantTypes = []v1alpha1.GrantType{"authorization_code"} }},
	"redirect_uris": {field: "redirectURIs", rule: "redirectHosts", set: func(s *v1alpha1.ConnectedAppSpec) { s.RedirectURIs = []v1alpha1.RedirectURI{"https://a.example/"} }},
	"post_logout_redirect_uris": {field: "postLogoutRedirectURIs", rule: "redirectHosts", set: func(s *v1alpha1.ConnectedAppSpec) {
		s.PostLogoutRedirectURIs = []v1alpha1.RedirectURI{"https://a.example/"}
	}},
	"scopes":                    {field: "scopes", rule: "scopes", set: func(s *v1alpha1.ConnectedAppSpec) { s.Scopes = []v1alpha1.ScopeAssignment{{Scope: "x"}} }},
	"audience":                  {field: "audience", rule: "audiences", set: func(s *v1alpha1.ConnectedAppSpec) { s.Audience = v1alpha1.AudienceEveryone }},
	"public_keys":               {field: "publicKeys", noRule: "an app's own credential; whom it speaks for is in identityProviders", set: func(s *v1alpha1.ConnectedAppSpec) { s.PublicKeys = []v1alpha1.PublicKey{{PEM: "x"}} }},
	"identity_providers":        {field: "identityProviders", rule: "identityProviders", set: func(s *v1alpha1.ConnectedAppSpec) { s.IdentityProviders = []v1alpha1.Identifier{"corp"} }},
	"assertions_without_expiry": {field: "assertionsWithoutExpiry", rule: "allowAssertionsWithoutExpiry", set: func(s *v1alpha1.ConnectedAppSpec) { s.AssertionsWithoutExpiry = new(true) }},
	"skip_user_consent":         {field: "skipUserConsent", rule: "allowSkipUserConsent", set: func(s *v1alpha1.ConnectedAppSpec) { s.SkipUserConsent = new(true) }},
	"token_endpoint_auth_method": {
		field: "tokenEndpointAuthMethod", noRule: "every way to authenticate with what the app has anyhow",
		set: func(s *v1alpha1.ConnectedAppSpec) { s.TokenEndpointAuthMethod = "client_secret_basic" },
	},
	"access_token_format":              {field: "accessTokenFormat", noRule: noPower, set: func(s *v1alpha1.ConnectedAppSpec) { s.AccessTokenFormat = "opaque" }},
	"access_token_signed_response_alg": {field: "accessTokenSigningAlg", noRule: noPower, set: func(s *v1alpha1.ConnectedAppSpec) { s.AccessTokenSigningAlg = "RS256" }},
	"id_token_signed_response_alg":     {field: "idTokenSigningAlg", noRule: noPower, set: func(s *v1alpha1.ConnectedAppSpec) { s.IDTokenSigningAlg = "ES256" }},
	"refresh_grace_seconds":            {field: "refreshGraceSeconds", noRule: "bounded by the server, and for the app's own tokens", set: func(s *v1alpha1.ConnectedAppSpec) { s.RefreshGraceSeconds = new(int32(0)) }},
	"client_uri":                       {field: "clientURI", noRule: noPower, set: func(s *v1alpha1.ConnectedAppSpec) { s.ClientURI = "https://a.example/" }},
	"policy_uri":                       {field: "policyURI", noRule: noPower, set: func(s *v1alpha1.ConnectedAppSpec) { s.PolicyURI = "https://a.example/" }},
	"tos_uri":                          {field: "tosURI", noRule: noPower, set: func(s *v1alpha1.ConnectedAppSpec) { s.TOSURI = "https://a.example/" }},
	"enabled":                          {field: "enabled", noRule: noPower, set: func(s *v1alpha1.ConnectedAppSpec) { s.Enabled = new(false) }},

	"client_id":                        {reason: "the server assigns it; status.clientID tells"},
	"federated_identities":             {reason: "which ServiceAccounts authenticate is for spec.credentials to say"},
	"client_secret":                    {reason: "in a Secret, never in a spec: spec.credentials"},
	"client_secret_id":                 {reason: "the server assigns it; status.secrets tells"},
	"client_secret_updated_at":         {reason: "read-only"},
	"cert_expiry":                      {reason: "read-only: follows from publicKeys"},
	"created_at":                       {reason: "read-only"},
	"updated_at":                       {reason: "read-only"},
	"org_id":                           {reason: "the platform team's: organizationID of the TokenServer"},
	"owner_org_id":                     {reason: "follows from owner_user_id"},
	"owner_user_id":                    {reason: "a person whose profile the app may show; a namespace is nobody, so whom the server takes stays"},
	"external_id":                      {reason: ofUs},
	"revision":                         {reason: ofUs},
	"generate_iss_claim_without_token": {reason: dead},
	"idprovider_id":                    {reason: dead},
}

// What is in the spec and not in the API, and what a rule says beside it.
var (
	beside = map[string]string{
		"tokenServerRef": "which API it is", "clientType": "token_endpoint_auth_method none, or not", "credentials": "where they are kept",
		"deletionPolicy": "the manager's behaviour", "driftPolicy": "the manager's behaviour", "suspend": "the manager's behaviour",
	}
	besideRule = map[string]string{
		"name": "of the rule", "namespaceSelector": "whose apps", "redirectSchemes": "of redirect URIs without a host",
		"deletionPolicies": "limits spec.deletionPolicy", "allowDefaultServiceAccount": "limits spec.credentials.serviceAccounts", "clientIDs": "limits the annotation adopt-client-id",
	}
)

// jsonNames are the names of a struct's members in JSON.
func jsonNames(t *testing.T, of any) []string {
	t.Helper()
	var list []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(of)) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		require.NotEmpty(t, name, "%T.%s", of, f.Name)
		list = append(list, name)
	}
	return slices.Sorted(slices.Values(list))
}

func column(of func(member) string) []string {
	list := []string{}
	for _, m := range kind {
		if name := of(m); name != "" {
			list = append(list, name)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

func keys[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }

func TestTheKindAndTheManagementAPIGrowTogether(t *testing.T) {
	require.ElementsMatch(t, jsonNames(t, oauth.ConnectedApp{}), keys(kind),
		"a member of the management API is a field of the spec, or there is a reason why not")
	require.ElementsMatch(t, jsonNames(t, v1alpha1.ConnectedAppSpec{}), append(column(func(m member) string { return m.field }), keys(beside)...),
		"a field of the spec is a member of the management API, or there is a reason why not")
	require.ElementsMatch(t, jsonNames(t, v1alpha1.AccessRule{}), append(column(func(m member) string { return m.rule }), keys(besideRule)...),
		"a field of an access rule limits a member of the management API, or there is a reason why not")
	sent := jsonNames(t, registrar.Fields{})
	for name, m := range kind {
		require.NotEqual(t, m.field == "", m.reason == "", "%s is in the spec, or there is a reason why not", name)
		require.True(t, m.field == "" || (m.rule == "") != (m.noRule == ""), "%s is in the access rules, or there is a reason why not", name)
		require.Equal(t, m.field != "", m.set != nil, name)
		require.True(t, m.field == "" || slices.Contains(sent, name), "%s is never sent", name)
	}
}

// What a spec says of a member becomes the client that is wanted, and a server
// that says otherwise differs in the field of that name.
func TestEveryFieldOfTheSpecIsComparedWithTheServer(t *testing.T) {
	desired := func(change func(*v1alpha1.ConnectedAppSpec)) plan.Client {
		app := &v1alpha1.ConnectedApp{Spec: v1alpha1.ConnectedAppSpec{GrantTypes: []v1alpha1.GrantType{"password"}}}
		change(&app.Spec)
		var pem []string
		for _, key := range app.Spec.PublicKeys {
			pem = append(pem, key.PEM)
		}
		return plan.Desired(app, pem, "")
	}
	live := desired(func(*v1alpha1.ConnectedAppSpec) {})
	for name, m := range kind {
		if m.set == nil {
			continue
		}
		changes := plan.Diff(live, desired(m.set))
		require.Len(t, changes, 1, name)
		require.Equal(t, m.field, changes[0].Field)
	}
}
