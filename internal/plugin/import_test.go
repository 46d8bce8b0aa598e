// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plugin/importer"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// importSite is a namespace, a token server with a manager, and somebody who may do
// there what an administrator may.
type importSite struct {
	*site
	instance *tokenservertest.Instance
	api      *registrar.Client
	server   *v1alpha1.TokenServer
}

// newImportSite allows nothing yet.
func newImportSite(t *testing.T, options ...tokenservertest.Option) *importSite {
	t.Helper()
	s := &importSite{site: newSite(t), instance: tokenservertest.Start(t, options...)}
	var err error
	s.api, err = registrar.New(registrar.Config{
		URL: s.instance.URL, ClientID: s.instance.AdminClientID, ClientSecret: s.instance.AdminClientSecret, RequestsPerSecond: 10_000,
	})
	require.NoError(t, err)
	plane.StartManager(t)
	s.server = plane.TokenServer(t, s.instance, func(server *v1alpha1.TokenServer) { server.Spec.Access = nil })
	return s
}

func (s *importSite) options() importer.Options {
	return importer.Options{Namespace: s.Namespace, TokenServer: s.server.Name}
}

// handmade registers an app by the management API.
func (s *importSite) handmade(t *testing.T, externalID, body string) *oauth.ConnectedApp {
	t.Helper()
	var fields registrar.Fields
	require.NoError(t, json.Unmarshal([]byte(body), &fields), body)
	answer, err := s.api.Register(t.Context(), externalID, fields)
	require.NoError(t, err, body)
	return &answer.App
}

// state is all that the management API tells of an app.
func (s *importSite) state(t *testing.T, id string) map[string]any {
	t.Helper()
	raw, err := s.api.ReadRaw(t.Context(), id)
	require.NoError(t, err)
	app := map[string]any{}
	require.NoError(t, json.Unmarshal(raw, &app))
	scopes, err := s.api.Scopes(t.Context(), id)
	require.NoError(t, err)
	secrets, err := s.api.Secrets(t.Context(), id)
	require.NoError(t, err)
	ids := []string{}
	for _, secret := range secrets.Data {
		ids = append(ids, secret.ID)
	}
	app["scopes of it"], app["secrets of it"] = scopes, ids
	return app
}

// imported has the apps written, and returns the manifests.
func (s *site) imported(t *testing.T, r *importer.Result, o ...ImportOptions) string {
	t.Helper()
	s.out.Reset()
	require.NoError(t, s.Import(t.Context(), r, append(o, ImportOptions{})[0]))
	return s.out.String()
}

// applied puts the access rules into the TokenServer and the manifests into the
// cluster, and waits until each app is ready under its former id.
func (s *importSite) applied(t *testing.T, r *importer.Result, manifests string) {
	t.Helper()
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(s.server), s.server))
		s.server.Spec.Access = append(s.server.Spec.Access, r.Access...)
		c.NoError(plane.Client.Update(t.Context(), s.server))
	})
	plane.Kubectl(t).Run(t, manifests, "apply", "-f", "-")
	t.Cleanup(func() { s.removed(t, r) })
	for i := range r.Apps {
		want := &r.Apps[i]
		app := &v1alpha1.ConnectedApp{}
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(want.Manifest), app))
			ready := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady)
			c.Equal(metav1.ConditionTrue, ready.Status, "%s: %s", app.Name, ready.Message)
		})
		if id := want.Manifest.Annotations[v1alpha1.AnnotationAdoptClientID]; id != "" {
			require.Equal(t, id, app.Status.ClientID)
		}
	}
}

func (s *importSite) removed(t *testing.T, r *importer.Result) {
	for i := range r.Apps {
		app := r.Apps[i].Manifest.DeepCopy()
		_ = plane.Client.Delete(t.Context(), app) // most are gone
	}
}

func publicKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	require.NoError(t, err)
	return string(text)
}

// What is imported from a token server and applied changes nothing there, but for
// one more secret of a client whose own is not told.
func TestAnImportChangesNothingOnTheServer(t *testing.T) {
	s := newImportSite(t)
	key := publicKey(t)
	made := map[string]*oauth.ConnectedApp{}
	for name, body := range map[string]string{
		"for itself": `{"client_name": "Nightly", "grant_types": ["client_credentials"], "client_uri": "https://nightly.example.com/"}`,
		"for users": `{"client_name": "Web ☃ \"Shop\": {a}", "grant_types": ["authorization_code", "refresh_token", "password"],
			"redirect_uris": ["https://shop.example.com", "http://localhost:3000/cb?a=b"], "post_logout_redirect_uris": ["https://shop.example.com/bye"],
			"scopes": ["profile", "offline_access", "view:apps"], "audience": "everyone", "policy_uri": "https://shop.example.com/privacy",
			"tos_uri": "https://shop.example.com/terms", "token_endpoint_auth_method": "client_secret_basic", "access_token_format": "opaque",
			"id_token_signed_response_alg": "ES256", "refresh_grace_seconds": 17}`,
		"public": `{"client_name": "Phone", "grant_types": ["authorization_code"], "redirect_uris": ["com.example.phone:/callback"],
			"token_endpoint_auth_method": "none", "scopes": ["openid"]}`,
		"another phone": `{"client_name": "phone", "grant_types": ["authorization_code"], "redirect_uris": ["http://127.0.0.1/cb"],
			"token_endpoint_auth_method": "none"}`,
		"by assertions": `{"client_name": "Speaker", "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "scopes": ["profile"],
			"public_keys": [` + key + `], "identity_providers": ["` + tokenservertest.ProviderID + `"]}`,
		"by its key": `{"client_name": "Signer", "grant_types": ["client_credentials"], "token_endpoint_auth_method": "private_key_jwt",
			"public_keys": [` + key + `]}`,
		"switched off": `{"client_name": "Off", "grant_types": ["client_credentials"], "enabled": false}`,
	} {
		made[name] = s.handmade(t, "", body)
	}
	require.NoError(t, s.api.PutScopes(t.Context(), made["for itself"].ClientID, []oauth.ContextScope{
		{Scope: "view:environment", ContextParams: oauth.ContextParams{Org: s.instance.OrgID, EnvID: tokenservertest.EnvID}},
		{Scope: "read:applications"},
	}))
	foreign := s.handmade(t, "another-cluster/payments/app/4711", `{"client_name": "Foreign", "grant_types": ["client_credentials"]}`)
	before := map[string]map[string]any{}
	for name, app := range made {
		before[name] = s.state(t, app.ClientID)
	}

	// Those with a secret that is known go on with it, the others get one beside it.
	known := s.options()
	known.ExistingSecrets, known.Clients = true, []string{made["for users"].ClientID, made["public"].ClientID, made["another phone"].ClientID, made["by its key"].ClientID}
	kept, err := importer.TokenServer(t.Context(), s.api, known)
	require.NoError(t, err)
	require.Len(t, kept.Apps, 4)
	others := s.options()
	others.Clients = []string{made["for itself"].ClientID, made["by assertions"].ClientID, made["switched off"].ClientID}
	rest, err := importer.TokenServer(t.Context(), s.api, others)
	require.NoError(t, err)
	require.Len(t, rest.Apps, 3)
	for i := range kept.Apps {
		if kept.Apps[i].ClientID == made["for users"].ClientID {
			plane.Create(t, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: s.Namespace, Name: kept.Apps[i].Manifest.Spec.Credentials.Secret.Name,
					Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
				},
				StringData: map[string]string{"client-id": made["for users"].ClientID, "client-secret": made["for users"].ClientSecret},
			})
		}
	}
	manifests := s.imported(t, kept)
	require.NotContains(t, manifests+s.said.String(), made["for users"].ClientSecret)
	for i := range rest.Access {
		rest.Access[i].Name += "-rest"
	}
	s.applied(t, kept, manifests)
	s.applied(t, rest, s.imported(t, rest))

	for name, app := range made {
		after := s.state(t, app.ClientID)
		if name == "for itself" || name == "by assertions" || name == "switched off" {
			require.Len(t, after["secrets of it"], 2)
			require.Subset(t, after["secrets of it"], before[name]["secrets of it"])
			for _, of := range []string{"secrets of it", "revision", "updated_at", "client_secret_updated_at"} {
				delete(after, of)
				delete(before[name], of)
			}
		}
		require.Equal(t, before[name], after, name)
	}

	// The objects are apps of ours now, and say so; a second import is the first.
	all, err := importer.TokenServer(t.Context(), s.api, s.options())
	require.NoError(t, err)
	require.Len(t, all.Apps, 7, "nobody else's mark is on them")
	left := map[string]string{}
	for _, l := range all.NotImported {
		left[l.ClientID] = l.Why
	}
	require.Contains(t, left[foreign.ClientID], "another-cluster/payments/app/4711")
	reader := s.handmade(t, "", `{"client_name": "Reader", "grant_types": ["client_credentials"]}`)
	require.NoError(t, s.api.PutScopes(t.Context(), reader.ClientID, []oauth.ContextScope{
		{Scope: oauth.ScopeReadConnectedApps, ContextParams: oauth.ContextParams{Org: s.instance.OrgID}},
	}))
	mayRead, err := registrar.New(registrar.Config{URL: s.instance.URL, ClientID: reader.ClientID, ClientSecret: reader.ClientSecret})
	require.NoError(t, err)
	again, err := importer.TokenServer(t.Context(), mayRead, importer.Options{Clients: []string{reader.ClientID}})
	require.NoError(t, err)
	require.Contains(t, again.NotImported[0].Why, "the client that this command logs in with")
	again, err = importer.TokenServer(t.Context(), mayRead, known)
	require.NoError(t, err)
	require.Equal(t, manifests, s.imported(t, again))

	// And the objects leave their clients.
	for i := range kept.Apps {
		require.NoError(t, plane.Client.Delete(t.Context(), kept.Apps[i].Manifest.DeepCopy()))
	}
	testenv.Eventually(t, func(c *require.Assertions) {
		for i := range kept.Apps {
			c.Error(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(kept.Apps[i].Manifest), &v1alpha1.ConnectedApp{}))
		}
	})
	require.Equal(t, before["for users"], s.state(t, made["for users"].ClientID))
}

// An organization has more apps than a page, and tells their secrets to whom may
// manage them: these go into Secrets, and nothing changes.
func TestAnImportOfAPlatform(t *testing.T) {
	s := newImportSite(t, tokenservertest.WithMiddleware(tokenservertest.Plain), tokenservertest.WithConfig(func(c *tokenserver.Config) { c.RecoverableSecrets = true }))
	secrets := map[string]string{}
	var chosen []string
	for i := range 105 {
		app := s.handmade(t, "", fmt.Sprintf(`{"client_name": "App %d", "grant_types": ["password"], "scopes": ["profile"]}`, i))
		secrets[app.ClientID] = app.ClientSecret
		if i == 0 || i == 104 {
			chosen = append(chosen, app.ClientID)
		}
	}
	job := s.handmade(t, "", `{"client_name": "Job", "grant_types": ["client_credentials"]}`)
	require.NoError(t, s.api.PutScopes(t.Context(), job.ClientID, []oauth.ContextScope{{Scope: "read:servers", ContextParams: oauth.ContextParams{Org: s.instance.OrgID}}}))
	secrets[job.ClientID] = job.ClientSecret
	chosen = append(chosen, job.ClientID)

	o := s.options()
	all, err := importer.TokenServer(t.Context(), s.api, o)
	require.NoError(t, err)
	require.Len(t, all.Apps, 106)
	for i := range all.Apps {
		require.Equal(t, secrets[all.Apps[i].ClientID], string(all.Apps[i].Secret.Data["client-secret"]))
	}
	before := map[string]map[string]any{}
	for _, id := range chosen {
		before[id] = s.state(t, id)
	}
	o.Clients = chosen
	r, err := importer.TokenServer(t.Context(), s.api, o)
	require.NoError(t, err)
	manifests := s.imported(t, r, ImportOptions{Secrets: true})
	for _, secret := range secrets {
		require.NotContains(t, manifests+s.said.String(), secret)
	}
	require.Contains(t, s.said.String(), "3 client secrets are in Secrets of namespace "+s.Namespace)
	require.NoError(t, s.Import(t.Context(), r, ImportOptions{Secrets: true}), "again")
	s.applied(t, r, manifests)
	for _, id := range chosen {
		require.Equal(t, before[id], s.state(t, id))
	}
}

// Clients of other servers are those of ours under their ids, with their secrets.
func TestClientsOfOtherServersMoveHere(t *testing.T) {
	s := newImportSite(t)
	read := func(parse func([]byte, importer.Options) (*importer.Result, error), file string) *importer.Result {
		text, err := os.ReadFile(filepath.Join("importer", "testdata", file))
		require.NoError(t, err)
		r, err := parse(text, s.options())
		require.NoError(t, err)
		manifests := s.imported(t, r, ImportOptions{Secrets: true})
		for i := range r.Access {
			r.Access[i].Name += "-" + strings.TrimSuffix(strings.TrimSuffix(file, ".json"), ".yaml")
		}
		s.applied(t, r, manifests)
		require.NotEmpty(t, r.Apps)
		return r
	}
	read(importer.Keycloak, "keycloak.json")
	endpoint := oauth2.Endpoint{AuthURL: s.instance.URL + oauth.PathAuthorize, TokenURL: s.instance.URL + oauth.PathToken}
	s.hasToken(t, "nightly", "c4dd2b6e-9d3e-4c58-8d4c-5a2e1b7f9a00")
	s.signsIn(t, oauth2.Config{
		ClientID: "web-shop", ClientSecret: "gM5zzc4RVqLj2OaT0sXh3dWbUy7eKpNf", Endpoint: endpoint,
		RedirectURL: "https://shop.retail.example.com/callback", Scopes: []string{"openid", "orders:read"},
	})

	read(importer.Hydra, "hydra.json")
	s.hasToken(t, "batch-export", "2a7c1b9fe04d43c2b8a1d90f6e5c7781")
	secret := &corev1.Secret{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "partner-portal-credentials"}, secret))
	s.signsIn(t, oauth2.Config{
		ClientID: "0f9d4a35-6a1c-4a57-9d13-6a7f8b2c1d01", ClientSecret: string(secret.Data["client-secret"]), Endpoint: endpoint,
		RedirectURL: "https://portal.example.com/callback", Scopes: []string{"openid", "orders:write"},
	})
	s.signsIn(t, oauth2.Config{ClientID: "phone", Endpoint: endpoint, RedirectURL: "com.example.phone:/callback", Scopes: []string{"openid"}})

	read(importer.Dex, "dex.yaml")
	s.signsIn(t, oauth2.Config{
		ClientID: "argo-cd", ClientSecret: "ZXhhbXBsZS1hcHAtc2VjcmV0", Endpoint: endpoint,
		RedirectURL: "https://argocd.example.com/auth/callback", Scopes: []string{"openid", "groups", "offline_access"},
	})
}

func (s *importSite) hasToken(t *testing.T, id, secret string) {
	t.Helper()
	token, err := tokenOf(t.Context(), &refresher.Credentials{
		ClientID: id, ClientSecret: secret, TokenURL: s.instance.URL + oauth.PathToken, AuthMethod: oauth.AuthMethodSecretPost,
	}, nil)
	require.NoError(t, err)
	requireAccepted(t, s.instance, token.AccessToken)
}

// signsIn has somebody sign in by an app.
func (s *importSite) signsIn(t *testing.T, config oauth2.Config) {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	_, code := consented(t, s.instance, config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	token, err := config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	require.NotEmpty(t, token.Extra("id_token"))
}

func dexOf(t *testing.T, s *site) *importer.Result {
	t.Helper()
	r, err := importer.Dex([]byte(`
staticClients:
- {id: argo-cd, name: "Argo\u202eCD", secret: a-secret-of-argo-cd, redirectURIs: ["https://argocd.example.com/cb"], trustedPeers: ["\e[2Jx"], "\e[2Jodd": x}
- {id: other, secret: a-secret-of-another, redirectURIs: ["https://other.example.com/cb"]}
`), importer.Options{Namespace: s.Namespace})
	require.NoError(t, err)
	return r
}

func TestASecretOfSomebodyElsesIsNotWritten(t *testing.T) {
	s := newSite(t)
	s.secret(t, "other-client-secret", map[string][]byte{"client-id": []byte("other")})
	err := s.Import(t.Context(), dexOf(t, s), ImportOptions{Secrets: true})
	require.EqualError(t, err, "Secret other-client-secret is there and not of client other: nothing was written; delete it, or import with --secrets-file")
	require.Empty(t, s.out.String())
	var list corev1.SecretList
	require.NoError(t, plane.Client.List(t.Context(), &list, client.InNamespace(s.Namespace)))
	require.Len(t, list.Items, 1)
}

func TestSecretsGoIntoAFileOfTheirOwn(t *testing.T) {
	s := newSite(t)
	r := dexOf(t, s)
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	require.NoError(t, s.Import(t.Context(), r, ImportOptions{SecretsFile: path}))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NotContains(t, s.out.String()+s.said.String(), "a-secret-of")
	require.ErrorContains(t, s.Import(t.Context(), r, ImportOptions{SecretsFile: path}), "is there already: nothing was written")

	plane.Kubectl(t).Run(t, "", "apply", "-f", path)
	secret := &corev1.Secret{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(r.Apps[0].Secret), secret))
	require.Equal(t, "a-secret-of-argo-cd", string(secret.Data["client-secret"]))
	require.Equal(t, v1alpha1.SecretReferenced, secret.Labels[v1alpha1.LabelSecret])
}

func TestTheFormsOfAnImport(t *testing.T) {
	s := newSite(t)
	r := dexOf(t, s)
	s.Output = OutputJSON
	var document struct {
		Apps []struct {
			ClientID   string
			Manifest   v1alpha1.ConnectedApp
			NotCarried []importer.Remark
		}
		Access []v1alpha1.AccessRule
	}
	text := s.imported(t, r)
	require.NoError(t, json.Unmarshal([]byte(text), &document))
	require.Equal(t, "argo-cd", document.Apps[0].ClientID)
	require.Equal(t, "Argo\u202eCD", document.Apps[0].Manifest.Spec.ClientName)
	require.Contains(t, document.Apps[0].NotCarried, importer.Remark{Field: "trustedPeers", Why: "the token server issues no tokens for other clients"})
	require.Equal(t, []v1alpha1.ClientID{"argo-cd", "other"}, document.Access[0].ClientIDs)
	require.NotContains(t, text, "a-secret-of")
	s.Output = OutputName
	require.Equal(t, "connectedapp.connectedapps.dev/argo-cd\nconnectedapp.connectedapps.dev/other\n", s.imported(t, r))

	s.Output = OutputText
	text = s.imported(t, r) + s.said.String()
	require.NotRegexp(t, "[\x00-\x09\x0b-\x1f\x7f\u0080-\u009f\u202e]", text, "a terminal is told texts")
	require.Contains(t, s.said.String(), "2 client secrets are not in the manifests")
	plane.Kubectl(t).Run(t, s.imported(t, r), "apply", "-f", "-")
	app := &v1alpha1.ConnectedApp{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(r.Apps[0].Manifest), app))
	require.Equal(t, "Argo\u202eCD", app.Spec.ClientName, "and programs read what was written")
	require.NoError(t, plane.Client.Delete(t.Context(), app))
}
