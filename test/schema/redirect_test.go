// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/plan/plantest"
)

// publicApp is the spec of a public client with one redirect URI.
func publicApp(uri string) map[string]any {
	return map[string]any{"clientType": "Public", "grantTypes": []any{"authorization_code"}, "redirectURIs": []any{uri}}
}

func TestTheCRDReadsRedirectURIsAsThePlanDoes(t *testing.T) {
	check := validator(t, "connectedapps")
	for _, row := range plantest.RedirectURIs() {
		t.Run(row.Name, func(t *testing.T) {
			errs := check(t, publicApp(row.URI))
			if row.Says == "" {
				require.Empty(t, errs)
				return
			}
			require.Contains(t, strings.Join(errs, "\n"), row.Says)
		})
	}
}

func FuzzTheCRDAndThePlanAgreeAboutRedirectURIs(f *testing.F) {
	for _, row := range plantest.RedirectURIs() {
		f.Add(row.URI)
	}
	check := validator(f, "connectedapps")
	f.Fuzz(func(t *testing.T, uri string) {
		if len(uri) > 2000 {
			return // the schema's own maximum
		}
		client := plan.Client{GrantTypes: []string{"authorization_code"}, RedirectURIs: []string{uri}, Audience: "internal", Enabled: true, AuthMethod: "none"}
		verdict := plan.Judge(client, plan.Namespace{}, []v1alpha1.AccessRule{plantest.Rule("a")}, plantest.OrganizationID)
		couldBeAllowed := strings.Contains(verdict.Message(), "(redirectHosts has no ") || strings.Contains(verdict.Message(), "(redirectSchemes has no ")
		require.Equal(t, couldBeAllowed, len(check(t, publicApp(uri))) == 0, "%q: %s", uri, verdict.Message())
	})
}

func TestWhoMayListRedirectURIs(t *testing.T) {
	const web, app = "https://example.com/", "com.example.app:/callback"
	check := validator(t, "connectedapps")
	for name, row := range map[string]struct {
		grants []any
		public bool
		uris   []any
		says   string
	}{
		"authorization_code lists some":                    {grants: []any{"authorization_code", "refresh_token"}, uris: []any{web}},
		"authorization_code needs some":                    {grants: []any{"authorization_code"}, says: "authorization_code needs redirectURIs"},
		"password may list some":                           {grants: []any{"password"}, uris: []any{web}},
		"password needs none":                              {grants: []any{"password"}},
		"the vendor's JWT bearer example lists one":        {grants: []any{"urn:ietf:params:oauth:grant-type:jwt-bearer"}, uris: []any{web}},
		"client_credentials lists none":                    {grants: []any{"client_credentials"}, uris: []any{web}, says: "an app with client_credentials acts for itself"},
		"client_credentials may say that it has none":      {grants: []any{"client_credentials"}, uris: []any{}},
		"a public client has a private-use scheme":         {grants: []any{"authorization_code"}, public: true, uris: []any{web, app}},
		"a confidential client has no private-use scheme":  {grants: []any{"authorization_code"}, uris: []any{web, app}, says: "is for clientType Public"},
		"an app with a password has no private-use scheme": {grants: []any{"password"}, uris: []any{app}, says: "is for clientType Public"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := map[string]any{"grantTypes": row.grants, "publicKeys": []any{}}
			if row.grants[0] == "urn:ietf:params:oauth:grant-type:jwt-bearer" {
				spec["publicKeys"] = []any{map[string]any{"configMapRef": map[string]any{"name": "keys", "key": "key.pem"}}}
			}
			if row.uris != nil {
				spec["redirectURIs"] = row.uris
			}
			if row.public {
				spec["clientType"] = "Public"
			}
			errs := check(t, spec)
			if row.says == "" {
				require.Empty(t, errs)
				return
			}
			require.Len(t, errs, 1)
			require.Contains(t, errs[0], row.says)
		})
	}
}

func TestRedirectSchemesOfARule(t *testing.T) {
	check := validator(t, "tokenservers")
	for scheme, valid := range map[string]bool{
		"com.example.app": true, "com.googleusercontent.apps.123-a4b": true, "example.app": true,
		"myapp": false, "javascript": false, "https": false, "com.example.app:": false, "com.example.app:/": false, "COM.example.app": false,
		"com.example.*": false, "*.example.app": false, "com..app": false, ".com.example": false, "1com.example": false, "com.example_app": false,
		"com.example.app\x20": false, "com.example.\u0430pp": false,
	} {
		errs := check(t, map[string]any{
			"url": "https://id.example.com", "credentials": map[string]any{"type": "Secret", "secretRef": map[string]any{"name": "a"}},
			"access": []any{map[string]any{"name": "a", "namespaceSelector": map[string]any{}, "grantTypes": []any{"password"}, "redirectSchemes": []any{scheme}}},
		})
		require.Equal(t, valid, len(errs) == 0, "%s: %v", scheme, errs)
		if !valid {
			require.Contains(t, errs[0], "must be a scheme in reverse-domain form and lower case")
		}
	}
}
