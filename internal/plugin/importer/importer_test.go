// SPDX-License-Identifier: Apache-2.0

package importer_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/plugin/importer"
)

type parser func([]byte, importer.Options) (*importer.Result, error)

// sources are the kinds of files, each with the export of a whole server.
var sources = map[string]struct {
	parse parser
	file  string
	// clients is the member that lists the clients.
	clients string
}{
	"keycloak": {importer.Keycloak, "keycloak.json", "clients"},
	"hydra":    {importer.Hydra, "hydra.json", "items"},
	"dex":      {importer.Dex, "dex.yaml", "staticClients"},
}

func fixture(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	return text
}

func imported(t testing.TB, source string, o importer.Options) *importer.Result {
	t.Helper()
	if o.Namespace == "" {
		o.Namespace = "payments"
	}
	r, err := sources[source].parse(fixture(t, sources[source].file), o)
	require.NoError(t, err)
	return r
}

func appOf(t testing.TB, r *importer.Result, id string) *importer.App {
	t.Helper()
	for i := range r.Apps {
		if r.Apps[i].ClientID == id {
			return &r.Apps[i]
		}
	}
	t.Fatalf("client %s was not imported", id)
	return nil
}

// why is what is said of a field that was not carried over; empty: nothing.
func why(remarks []importer.Remark, field string) string {
	for _, r := range remarks {
		if r.Field == field {
			return r.Why
		}
	}
	return ""
}

func leftOut(r *importer.Result) map[string]string {
	left := map[string]string{}
	for _, l := range r.NotImported {
		left[l.ClientID] = l.Why
	}
	return left
}

func scopesOf(app *importer.App) []string {
	var names []string
	for _, s := range app.Manifest.Spec.Scopes {
		names = append(names, s.Scope)
	}
	return names
}

func TestAKeycloakRealm(t *testing.T) {
	r := imported(t, "keycloak", importer.Options{TokenServer: "main"})
	shop := appOf(t, r, "web-shop")
	spec := &shop.Manifest.Spec
	require.Equal(t, "web-shop", shop.Manifest.Annotations[v1alpha1.AnnotationAdoptClientID])
	require.Equal(t, "main", spec.TokenServerRef.Name)
	require.Equal(t, []v1alpha1.GrantType{"authorization_code", "refresh_token"}, spec.GrantTypes)
	require.Equal(t, []v1alpha1.RedirectURI{"https://shop.retail.example.com/callback", "https://shop.retail.example.com/silent"}, spec.RedirectURIs)
	require.Equal(t, []v1alpha1.RedirectURI{
		"https://shop.retail.example.com/bye", "https://shop.retail.example.com/callback", "https://shop.retail.example.com/silent",
	}, spec.PostLogoutRedirectURIs)
	require.Equal(t, []string{"openid", "profile", "email", "orders:read", "offline_access"}, scopesOf(shop))
	require.Equal(t, v1alpha1.WebURI("https://shop.retail.example.com/home"), spec.ClientURI)
	require.Equal(t, v1alpha1.SigningAlg("ES256"), spec.AccessTokenSigningAlg)
	require.Empty(t, spec.IDTokenSigningAlg)
	require.Equal(t, v1alpha1.CredentialsExistingSecret, spec.Credentials.Type)
	require.Equal(t, spec.Credentials.Secret.Name, shop.Secret.Name)
	require.Equal(t, map[string][]byte{"client-id": []byte("web-shop"), "client-secret": []byte("gM5zzc4RVqLj2OaT0sXh3dWbUy7eKpNf")}, shop.Secret.Data)
	require.Equal(t, v1alpha1.SecretReferenced, shop.Secret.Labels[v1alpha1.LabelSecret])
	for field, contains := range map[string]string{
		"redirectUris https://shop.retail.example.com/*": "list each",
		"implicitFlowEnabled":                            "no implicit grant",
		"grant type client_credentials":                  "make another ConnectedApp",
		"protocolMappers":                                "no roles and mappers",
		"attributes.backchannel.logout.url":              "tells no app of a logout",
		"webOrigins https://cdn.retail.example.com":      "origins of redirect URIs",
		"attributes.id.token.signed.response.alg":        "no such setting",
		"client scope address":                           "no such scope",
	} {
		require.Contains(t, why(shop.NotCarried, field), contains, field)
	}

	spa := appOf(t, r, "storefront.spa")
	require.Equal(t, v1alpha1.ClientPublic, spa.Manifest.Spec.ClientType)
	require.Contains(t, spa.Manifest.Spec.RedirectURIs, v1alpha1.RedirectURI("https://store.example.com/signed-in"))
	require.Contains(t, why(spa.NotCarried, "grant type password"), "public client")
	require.Nil(t, spa.Secret)

	require.Equal(t, v1alpha1.CredentialsPrivateKey, appOf(t, r, "ledger").Manifest.Spec.Credentials.Type)
	hidden := appOf(t, r, "backoffice")
	require.False(t, *hidden.Manifest.Spec.Enabled)
	require.Contains(t, why(hidden.NotCarried, "secret"), "the export hides it")
	legacy := appOf(t, r, "https://legacy.example.com/app")
	require.Empty(t, legacy.Manifest.Annotations, "no server takes that id")
	require.Contains(t, why(legacy.NotCarried, "client id"), "an id of its own")
	require.Contains(t, why(legacy.NotCarried, "secret"), "16 to 256")

	left := leftOut(r)
	require.Len(t, left, 5)
	require.Contains(t, left["kiosk"], "no implicit grant")
	require.Contains(t, left["orders-api"], "bearerOnly")
	require.Contains(t, left["https://hr.example.com/saml"], "saml")
	require.Contains(t, left["account"], "Keycloak's own")
}

func TestWhatElseKeycloakWrites(t *testing.T) {
	var realm struct {
		Clients json.RawMessage `json:"clients"`
	}
	text := fixture(t, "keycloak.json")
	require.NoError(t, json.Unmarshal(text, &realm))
	o := importer.Options{Namespace: "payments"}
	for form, text := range map[string][]byte{"a list of clients": realm.Clients, "a list of realms": slices.Concat([]byte("["), text, []byte("]"))} {
		r, err := importer.Keycloak(text, o)
		require.NoError(t, err, form)
		require.Len(t, r.Apps, 6, form)
	}
	r, err := importer.Keycloak([]byte(`{"clientId": "one", "redirectUris": ["https://one.example.com/"]}`), o)
	require.NoError(t, err)
	require.Equal(t, "one", r.Apps[0].Manifest.Name)
}

func TestHydrasClients(t *testing.T) {
	r := imported(t, "hydra", importer.Options{})
	portal := appOf(t, r, "0f9d4a35-6a1c-4a57-9d13-6a7f8b2c1d01")
	require.Equal(t, "partner-portal", portal.Manifest.Name)
	require.Equal(t, []string{"openid", "offline_access", "profile", "orders:write"}, scopesOf(portal))
	require.Equal(t, v1alpha1.AccessTokenFormat("opaque"), portal.Manifest.Spec.AccessTokenFormat)
	require.Nil(t, portal.Manifest.Spec.Credentials, "another secret is made")
	require.Contains(t, why(portal.NotCarried, "secret"), "Hydra keeps a hash of it alone: another is made")
	for _, field := range []string{
		"audience", "authorization_code_grant_access_token_lifespan", "backchannel_logout_uri", "frontchannel_logout_uri", "grant_types implicit",
		"redirect_uris http://intranet/callback", "metadata", "owner", "subject_type", "response_types id_token", "registration_access_token",
	} {
		require.NotEmpty(t, why(portal.NotCarried, field), field)
	}
	batch := appOf(t, r, "batch-export")
	require.Equal(t, "2a7c1b9fe04d43c2b8a1d90f6e5c7781", string(batch.Secret.Data["client-secret"]))
	signer := appOf(t, r, "signer")
	require.Equal(t, v1alpha1.CredentialsPrivateKey, signer.Manifest.Spec.Credentials.Type)
	require.Len(t, signer.Manifest.Spec.PublicKeys, 1)
	require.Contains(t, why(signer.NotCarried, "jwks"), "key 2 is private or symmetric")
	require.Equal(t, []v1alpha1.RedirectURI{"com.example.phone:/callback"}, appOf(t, r, "phone").Manifest.Spec.RedirectURIs)
	require.Contains(t, why(r.NotCarried, "next_page_token"), "not the whole list")

	kept := imported(t, "hydra", importer.Options{ExistingSecrets: true})
	portal = appOf(t, kept, "0f9d4a35-6a1c-4a57-9d13-6a7f8b2c1d01")
	require.Equal(t, v1alpha1.CredentialsExistingSecret, portal.Manifest.Spec.Credentials.Type)
	require.Contains(t, why(portal.NotCarried, "secret"), "put it into Secret partner-portal-client-secret, keys client-id and client-secret")
	require.Nil(t, portal.Secret)
}

func TestDexsClients(t *testing.T) {
	r := imported(t, "dex", importer.Options{})
	argo := appOf(t, r, "argo-cd")
	require.Equal(t, []string{"openid", "profile", "email", "groups", "offline_access"}, scopesOf(argo))
	require.Equal(t, "ZXhhbXBsZS1hcHAtc2VjcmV0", string(argo.Secret.Data["client-secret"]))
	require.NotEmpty(t, why(argo.NotCarried, "trustedPeers"))
	cli := appOf(t, r, "argo-cd-cli")
	require.Equal(t, []v1alpha1.RedirectURI{"http://localhost:8085/auth/callback"}, cli.Manifest.Spec.RedirectURIs)
	require.Contains(t, why(appOf(t, r, "grafana").NotCarried, "secret"), "environment variable GRAFANA_SECRET")
	left := leftOut(r)
	require.Contains(t, left["kubelogin"], "any on localhost")
	require.Contains(t, left[""], "HIDDEN_CLIENT")
	for _, field := range []string{"connectors", "expiry", "oauth2", "staticPasswords", "issuer, storage, web"} {
		require.NotEmpty(t, why(r.NotCarried, field), field)
	}
}

func TestWhatIsNoExport(t *testing.T) {
	for source, s := range sources {
		for _, text := range []string{"", "null", "7", `"text"`, `{}`, `{"unrelated": []}`, "{\x00", "a: [b"} {
			_, err := s.parse([]byte(text), importer.Options{Namespace: "payments"})
			require.ErrorContains(t, err, "this is n", "%s: %q", source, text)
			require.NotContains(t, err.Error(), "unrelated")
		}
	}
}

func TestSomeClientsAlone(t *testing.T) {
	r := imported(t, "keycloak", importer.Options{Clients: []string{"web-shop", "kiosk"}})
	require.Len(t, r.Apps, 1)
	require.Len(t, r.NotImported, 1)
	require.Equal(t, appOf(t, imported(t, "keycloak", importer.Options{}), "web-shop").Manifest.Name, r.Apps[0].Manifest.Name, "the name stays")
	require.Equal(t, []v1alpha1.ClientID{"web-shop"}, r.Access[0].ClientIDs)
	_, err := importer.Keycloak(fixture(t, "keycloak.json"), importer.Options{Clients: []string{"nobody"}})
	require.EqualError(t, err, "there is no client nobody")
}

// shown is all of a result that anybody is shown, and told is with the secrets.
func shown(t testing.TB, r *importer.Result) string {
	t.Helper()
	text, err := json.Marshal(r)
	require.NoError(t, err)
	return string(text)
}

func told(t testing.TB, r *importer.Result) string {
	t.Helper()
	text := shown(t, r)
	for i := range r.Apps {
		if s := r.Apps[i].Secret; s != nil {
			text += s.Name + string(s.Data["client-secret"])
		}
	}
	return text
}

func TestSecretsAreShownNowhere(t *testing.T) {
	for source, secrets := range map[string][]string{
		"keycloak": {"gM5zzc4RVqLj2OaT0sXh3dWbUy7eKpNf", "c4dd2b6e-9d3e-4c58-8d4c-5a2e1b7f9a00", "eyJhbGciOiJub25lIn0"},
		"hydra":    {"2a7c1b9fe04d43c2b8a1d90f6e5c7781", "ory_at_example-registration-token", "c2VjcmV0LW9mLXNvbWVib2R5", "eyJwYWdlIjoyfQ"},
		"dex":      {"ZXhhbXBsZS1hcHAtc2VjcmV0", "$2a$10$example"},
	} {
		for _, secret := range secrets {
			require.NotContains(t, shown(t, imported(t, source, importer.Options{})), secret, source)
		}
	}
}

// saysNothing are members that tell nothing about what a client may do, and those
// whose other values mean the same to the token server.
var saysNothing = map[string][]string{
	"keycloak": {"id", "access", "attributes.client.secret.creation.time", "consentRequired"}, // consent is told of once for all
	"hydra":    {"created_at", "updated_at", "client_secret_expires_at"},
	"dex":      {},
}

// Each member of each client is in the answer in some way: without it, or with another
// value, the answer is another.
func TestNothingIsDroppedInSilence(t *testing.T) {
	for source, s := range sources {
		document, err := yaml.YAMLToJSON(fixture(t, s.file))
		require.NoError(t, err)
		parse := func(t testing.TB, export map[string]any) *importer.Result {
			text, err := json.Marshal(export)
			require.NoError(t, err)
			r, err := s.parse(text, importer.Options{Namespace: "payments"})
			require.NoError(t, err)
			return r
		}
		export := map[string]any{}
		require.NoError(t, json.Unmarshal(document, &export))
		before := parse(t, export)
		left := leftOut(before)
		for key := range export {
			if key == s.clients || key == "id" && source == "keycloak" || key == "realm" || key == "is_last_page" {
				continue
			}
			copied := maps.Clone(export)
			delete(copied, key)
			if !isEmpty(export[key]) {
				require.NotEqual(t, told(t, before), told(t, parse(t, copied)), "%s: %s", source, key)
			}
		}
		for _, client := range export[s.clients].([]any) {
			client := client.(map[string]any)
			if id, _ := client[map[string]string{"keycloak": "clientId", "hydra": "client_id", "dex": "id"}[source]].(string); left[id] != "" || id == "" {
				continue
			}
			for _, holder := range []struct {
				path    string
				members map[string]any
			}{{"", client}, {"attributes.", attributesOf(client)}} {
				for key, value := range holder.members {
					path := holder.path + key
					if slices.Contains(saysNothing[source], path) {
						continue
					}
					holder.members[key] = another(value)
					changed := told(t, parse(t, export))
					delete(holder.members, key)
					removed := told(t, parse(t, export))
					holder.members[key] = value
					require.NotEqual(t, [2]string{told(t, before), told(t, before)}, [2]string{changed, removed}, "%s: %s: %v", source, path, value)
				}
				if len(holder.members) == 0 {
					continue
				}
				holder.members["never-heard-of"] = "x"
				after := shown(t, parse(t, export))
				require.Contains(t, after, `"`+holder.path+`never-heard-of"`, "%s: %s", source, holder.path)
				delete(holder.members, "never-heard-of")
			}
		}
		require.Equal(t, told(t, before), told(t, parse(t, export)))
	}
}

func attributesOf(client map[string]any) map[string]any {
	attributes, _ := client["attributes"].(map[string]any)
	if attributes == nil {
		return map[string]any{}
	}
	return attributes
}

func isEmpty(value any) bool {
	text, _ := json.Marshal(value)
	return slices.Contains([]string{`null`, `""`, `false`, `0`, `[]`, `{}`}, string(text))
}

func another(value any) any {
	switch value := value.(type) {
	case bool:
		return !value
	case float64:
		return value + 7777
	case string:
		if value == "false" {
			return "true"
		}
		return "another-" + value
	case []any:
		return append(slices.Clone(value), "https://another.example.com/a")
	}
	return map[string]any{"another": "x"}
}

func TestNamesAreLabelsAndStable(t *testing.T) {
	clients := []string{
		`{"id": "1", "name": "Café Ünïcode / Shop!", "public": true, "redirectURIs": ["https://a.example.com/"]}`,
		`{"id": "2", "name": "Shop", "public": true, "redirectURIs": ["https://a.example.com/"]}`,
		`{"id": "3", "name": "shop", "public": true, "redirectURIs": ["https://a.example.com/"]}`,
		`{"id": "4", "name": "レガシー", "public": true, "redirectURIs": ["https://a.example.com/"]}`,
		`{"id": "---", "name": "???", "public": true, "redirectURIs": ["https://a.example.com/"]}`,
		`{"id": "5", "name": "` + strings.Repeat("long ", 30) + `", "public": true, "redirectURIs": ["https://a.example.com/"]}`,
	}
	names := func(clients []string) map[string]string {
		r, err := importer.Dex([]byte(`{"staticClients": [`+strings.Join(clients, ",")+`]}`), importer.Options{Namespace: "payments"})
		require.NoError(t, err)
		names := map[string]string{}
		for i := range r.Apps {
			require.Regexp(t, `^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$`, r.Apps[i].Manifest.Name)
			names[r.Apps[i].ClientID] = r.Apps[i].Manifest.Name
		}
		return names
	}
	once := names(clients)
	require.Len(t, once, 6)
	require.Equal(t, "cafe-unicode-shop", once["1"])
	require.Equal(t, "shop-d4735e", once["2"])
	require.Equal(t, "shop-4e0740", once["3"])
	require.Equal(t, "4", once["4"])
	require.Regexp(t, `^app-[0-9a-f]{6}$`, once["---"])
	slices.Reverse(clients)
	require.Equal(t, once, names(clients))
}

// The access rule allows each app, and nothing that no app has.
func TestTheAccessRuleAllowsPreciselyTheApps(t *testing.T) {
	namespace := plan.Namespace{Labels: map[string]string{corev1.LabelMetadataName: "payments"}}
	for source := range sources {
		r := imported(t, source, importer.Options{})
		require.Len(t, r.Access, 1)
		var all plan.Client
		for i := range r.Apps {
			c := desired(&r.Apps[i])
			verdict := plan.Judge(c, namespace, r.Access, "org")
			require.True(t, verdict.Allowed, "%s: %v", r.Apps[i].ClientID, verdict.Missing)
			all.GrantTypes = append(all.GrantTypes, c.GrantTypes...)
			other := c
			other.Scopes = append(slices.Clone(c.Scopes), plan.Scope{Name: "another"})
			require.False(t, plan.Judge(other, namespace, r.Access, "org").Allowed)
			other = c
			other.RedirectURIs = append(slices.Clone(c.RedirectURIs), "https://another.example.com/")
			require.False(t, plan.Judge(other, namespace, r.Access, "org").Allowed)
			elsewhere := plan.Namespace{Labels: map[string]string{corev1.LabelMetadataName: "other"}}
			require.False(t, plan.Judge(c, elsewhere, r.Access, "org").Allowed)
		}
		for _, grant := range r.Access[0].GrantTypes {
			require.Contains(t, all.GrantTypes, string(grant))
		}
		for _, id := range r.Access[0].ClientIDs {
			appOf(t, r, string(id))
		}
	}
}

// More than one rule can list is in several.
func TestManyClientsHaveSeveralRules(t *testing.T) {
	var clients []string
	for i := range 250 {
		host := strings.Repeat("x", i+1)
		clients = append(clients, `{"id": "`+host[:min(64, i+1)]+`-`+string(rune('a'+i%26))+`", "public": true, "redirectURIs": ["https://`+host[:min(60, i+1)]+string(rune('a'+i%26))+`.example.com/"]}`)
	}
	r, err := importer.Dex([]byte(`{"staticClients": [`+strings.Join(clients, ",")+`]}`), importer.Options{Namespace: "payments"})
	require.NoError(t, err)
	names := map[string]bool{}
	for _, rule := range r.Access {
		require.LessOrEqual(t, len(rule.RedirectHosts), 100)
		names[rule.Name] = true
	}
	require.Len(t, names, len(r.Access))
	for i := range r.Apps {
		verdict := plan.Judge(desired(&r.Apps[i]), plan.Namespace{Labels: map[string]string{corev1.LabelMetadataName: "payments"}}, r.Access, "org")
		require.True(t, verdict.Allowed, verdict.Missing)
	}
}

func desired(app *importer.App) plan.Client {
	var keys []string
	for _, key := range app.Manifest.Spec.PublicKeys {
		keys = append(keys, key.PEM)
	}
	return plan.Desired(app.Manifest, keys, "")
}

func FuzzKeycloak(f *testing.F) { fuzz(f, "keycloak", importer.Keycloak) }

func FuzzHydra(f *testing.F) { fuzz(f, "hydra", importer.Hydra) }

func FuzzDex(f *testing.F) { fuzz(f, "dex", importer.Dex) }

// Whatever is read, names are unique labels, the rules allow what was imported, and
// a second import says the same.
func fuzz(f *testing.F, source string, parse parser) {
	f.Add(fixture(f, sources[source].file))
	f.Add([]byte(`{"clients": [{"clientId": "a", "redirectUris": ["/", "x:y", "https://[::1]:9/", "https://[2001:db8::1]/"]}], "items": [{"client_id": "*", "scope": "* a*"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o := importer.Options{Namespace: "payments"}
		r, err := parse(text, o)
		if err != nil {
			return
		}
		again, err := parse(bytes.Clone(text), o)
		require.NoError(t, err)
		require.Equal(t, told(t, r), told(t, again))
		names := map[string]bool{}
		for i := range r.Apps {
			name := r.Apps[i].Manifest.Name
			require.Regexp(t, `^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$`, name)
			require.False(t, names[name], name)
			names[name] = true
			verdict := plan.Judge(desired(&r.Apps[i]), plan.Namespace{Labels: map[string]string{corev1.LabelMetadataName: "payments"}}, r.Access, "org")
			require.True(t, verdict.Allowed, "%v", verdict.Missing)
		}
	})
}

func TestAnIDThatManyClientsHaveIsImportedOnce(t *testing.T) {
	const one = `{id: shop, secret: s3cret, redirectURIs: ["https://shop.example.com/cb"]},`
	r, err := importer.Dex([]byte("staticClients: ["+strings.Repeat(one, 100)+"]"), importer.Options{Namespace: "payments"})
	require.NoError(t, err)
	require.Len(t, r.Apps, 1)
	require.Equal(t, "shop", r.Apps[0].Manifest.Name)
	require.Len(t, r.NotImported, 99)
	require.Equal(t, importer.Left{ClientID: "shop", Why: "another client before it has the same id"}, r.NotImported[0])
}
