// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/plan/plantest"
	"connectedapps.dev/operator/internal/testenv"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// manifest makes an object of a kind from the YAML of its spec.
func manifest(t *testing.T, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal([]byte(spec), &o.Object), "the test's own YAML")
	o.Object = map[string]any{"spec": o.Object}
	o.SetAPIVersion("connectedapps.dev/v1alpha1")
	o.SetKind(kind)
	o.SetName(name)
	if kind != "TokenServer" {
		o.SetNamespace("default")
	}
	return o
}

// create asks the API server, strict about unknown fields as kubectl is.
func create(t *testing.T, o *unstructured.Unstructured) error {
	t.Helper()
	sent := o.DeepCopy()
	err := plane.Client.Create(t.Context(), o, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
	requireLintAgrees(t, sent, err)
	return err
}

const (
	jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	publicKey = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
)

func TestConnectedAppManifestsThatAreAccepted(t *testing.T) {
	for name, spec := range map[string]string{
		"the least possible":                     `grantTypes: [client_credentials]`,
		"an app for users":                       `{grantTypes: [authorization_code, refresh_token], redirectURIs: ["https://example.com/"], scopes: [{scope: profile}, {scope: offline_access}]}`,
		"a redirect to the caller's machine":     `{grantTypes: [authorization_code], redirectURIs: ["http://localhost:8080/cb", "http://127.0.0.1/cb", "http://[::1]:99/cb"]}`,
		"a redirect with a query":                `{grantTypes: [authorization_code], redirectURIs: ["https://example.com:8443/cb?a=b%20c"]}`,
		"a public client":                        `{clientType: Public, grantTypes: [authorization_code], redirectURIs: ["https://example.com/"]}`,
		"a public client that says so twice":     `{clientType: Public, grantTypes: [authorization_code], redirectURIs: ["https://example.com/"], credentials: {type: None}}`,
		"a native app":                           `{clientType: Public, grantTypes: [authorization_code], redirectURIs: ["com.example.app:/callback", "http://127.0.0.1/cb"]}`,
		"the vendor's JWT bearer example":        fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{pem: %q}], redirectURIs: ["https://example.com/"], scopes: [{scope: profile}, {scope: offline_access}]}`, jwtBearer, publicKey),
		"a redirect of an app with passwords":    `{grantTypes: [password], redirectURIs: ["https://example.com/"]}`,
		"scopes with contexts":                   `{grantTypes: [client_credentials], scopes: [{scope: "view:environment", organizationID: o, environmentID: e}]}`,
		"the same scope in two contexts":         `{grantTypes: [client_credentials], scopes: [{scope: a, organizationID: o}, {scope: a, organizationID: p}]}`,
		"a thousand scopes":                      `{grantTypes: [client_credentials], scopes: [` + strings.Repeat(`{scope: a},`, 1000) + `]}`,
		"a public key":                           fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{pem: %q}]}`, jwtBearer, publicKey),
		"a public key in a ConfigMap":            fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{configMapRef: {name: keys, key: key.pem}}]}`, jwtBearer),
		"keys renamed":                           `{grantTypes: [client_credentials], credentials: {type: Secret, secret: {keys: {client-id: ID, client-secret: SECRET, ca.crt: tls.ca}}}}`,
		"keys that change places":                `{grantTypes: [client_credentials], credentials: {type: Secret, secret: {keys: {client-id: client-secret, client-secret: client-id}}}}`,
		"labels and annotations on the Secret":   `{grantTypes: [client_credentials], credentials: {type: Secret, secret: {metadata: {labels: {team: a, example.com/x: ""}, annotations: {reloader.stakater.com/match: "true"}}}}}`,
		"a rotation":                             `{grantTypes: [client_credentials], credentials: {type: Secret, rotation: {interval: 720h, overlap: 24h}}}`,
		"a rotation by request, with an overlap": `{grantTypes: [client_credentials], credentials: {type: Secret, rotation: {overlap: 10m}}}`,
		"the quickest rotation":                  `{grantTypes: [client_credentials], credentials: {type: Secret, rotation: {interval: 1h}}}`,
		"a Secret made by somebody else":         `{grantTypes: [client_credentials], credentials: {type: ExistingSecret, secret: {name: vault}}}`,
		"ServiceAccounts":                        `{grantTypes: [client_credentials], credentials: {type: ServiceAccount, serviceAccounts: [{name: gitproxy}, {name: git.proxy-2}], secret: {name: gitproxy, preset: env, metadata: {labels: {team: a}}}}}`,
		"a ServiceAccount for users":             `{grantTypes: [authorization_code], redirectURIs: ["https://example.com/"], tokenEndpointAuthMethod: private_key_jwt, credentials: {type: ServiceAccount, serviceAccounts: [{name: default}]}}`,
		"a private key":                          fmt.Sprintf(`{grantTypes: [client_credentials], publicKeys: [{pem: %q}], credentials: {type: PrivateKey}}`, publicKey),
		"a private key, said twice":              fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{pem: %q}], tokenEndpointAuthMethod: private_key_jwt, credentials: {type: PrivateKey, secret: {preset: servicebinding}}}`, jwtBearer, publicKey),
		"a ClientName in any language":           `{grantTypes: [client_credentials], clientName: "Grüße, 世界"}`,
		"all that a web app may say": `{grantTypes: [authorization_code, refresh_token], redirectURIs: ["https://example.com/"], postLogoutRedirectURIs: ["https://example.com/bye"],
			skipUserConsent: true, tokenEndpointAuthMethod: client_secret_basic, accessTokenFormat: opaque, accessTokenSigningAlg: RS256, idTokenSigningAlg: ES256, refreshGraceSeconds: 3600}`,
		"all that an app with assertions may say": fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{pem: %q}], identityProviders: [corp], assertionsWithoutExpiry: true}`, jwtBearer, publicKey),
		"what gives power, switched off":          `{grantTypes: [client_credentials], identityProviders: [], postLogoutRedirectURIs: [], skipUserConsent: false, assertionsWithoutExpiry: false}`,
		"a native app that people leave":          `{clientType: Public, grantTypes: [authorization_code], redirectURIs: ["com.example.app:/cb"], postLogoutRedirectURIs: ["com.example.app:/bye"], tokenEndpointAuthMethod: none}`,
		"workloads to restart":                    `{grantTypes: [client_credentials], credentials: {type: Secret, secret: {restart: [{kind: Deployment, name: a}, {kind: StatefulSet, name: a}, {kind: DaemonSet, name: a.b-2}]}}}`,
		"every policy that can be chosen":         `{grantTypes: [client_credentials], deletionPolicy: Orphan, driftPolicy: Report, suspend: true, enabled: false}`,
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, create(t, manifest(t, "ConnectedApp", "app", spec)))
		})
	}
}

func TestConnectedAppManifestsThatAreRefused(t *testing.T) {
	secret := func(rest string) string {
		return `{grantTypes: [client_credentials], credentials: {type: Secret, secret: {` + rest + `}}}`
	}
	rotation := func(rest string) string {
		return `{grantTypes: [client_credentials], credentials: {type: Secret, rotation: {` + rest + `}}}`
	}
	serviceAccount := func(rest string) string {
		return `{grantTypes: [client_credentials], credentials: {type: ServiceAccount, ` + rest + `}}`
	}
	redirect := func(uri string) string {
		return fmt.Sprintf(`{grantTypes: [authorization_code], redirectURIs: [%q]}`, uri)
	}
	for name, row := range map[string]struct{ spec, field, says string }{
		"a workload of no such kind":              {secret("restart: [{kind: Job, name: a}]"), "spec.credentials.secret.restart[0].kind", `Unsupported value: "Job"`},
		"a workload without a name":               {secret("restart: [{kind: Deployment}]"), "spec.credentials.secret.restart[0].name", "Required"},
		"a workload twice":                        {secret("restart: [{kind: Deployment, name: a}, {kind: Deployment, name: a}]"), "spec.credentials.secret.restart[1]", "Duplicate value"},
		"a rotation too often":                    {rotation("interval: 59m"), "spec.credentials.rotation.interval", "must be a duration from 1h to 8760h"},
		"a rotation too rarely":                   {rotation("interval: 8761h"), "spec.credentials.rotation.interval", "must be a duration from 1h to 8760h"},
		"a rotation that is no duration":          {rotation("interval: 30d"), "spec.credentials.rotation.interval", `Invalid value: "30d": must be a duration from 1h to 8760h`},
		"a rotation and an overlap in days":       {rotation("interval: 30d, overlap: 1d"), "spec.credentials.rotation.overlap", `Invalid value: "1d": must be a duration from 10m to 8760h`},
		"an overlap in which nobody can read":     {rotation("overlap: 0s"), "spec.credentials.rotation.overlap", "must be a duration from 10m to 8760h"},
		"an overlap longer than the interval":     {rotation("interval: 2h, overlap: 3h"), "spec.credentials.rotation.overlap", "must be at most the interval"},
		"a rotation of an ExistingSecret":         {`{grantTypes: [client_credentials], credentials: {type: ExistingSecret, secret: {name: vault}, rotation: {interval: 720h}}}`, "spec.credentials.rotation", "rotate an ExistingSecret where it is made"},
		"an unknown field":                        {`{grantTypes: [client_credentials], grantType: x}`, "spec.grantType", "unknown field"},
		"a wrong type":                            {`{grantTypes: client_credentials}`, "spec.grantTypes", "must be of type array"},
		"a number for a boolean":                  {`{grantTypes: [client_credentials], enabled: 1}`, "spec.enabled", "must be of type boolean"},
		"no grant type":                           {`{}`, "spec.grantTypes", "Required"},
		"an empty list of grant types":            {`{grantTypes: []}`, "spec.grantTypes", "at least 1"},
		"the implicit grant":                      {`{grantTypes: [implicit]}`, "spec.grantTypes[0]", "Unsupported value"},
		"a grant type twice":                      {`{grantTypes: [password, password]}`, "spec.grantTypes[1]", "Duplicate value"},
		"client_credentials with another":         {`{grantTypes: [client_credentials, password]}`, "spec.grantTypes", "must be the only grant type"},
		"refresh_token alone":                     {`{grantTypes: [refresh_token]}`, "spec.grantTypes", "refresh_token needs authorization_code"},
		"refresh_token with password":             {`{grantTypes: [password, refresh_token]}`, "spec.grantTypes", "refresh_token needs authorization_code"},
		"authorization_code without a redirect":   {`{grantTypes: [authorization_code]}`, "spec.redirectURIs", "authorization_code needs redirectURIs"},
		"a redirect without authorization_code":   {`{grantTypes: [client_credentials], redirectURIs: ["https://a.example/"]}`, "spec.redirectURIs", "acts for itself"},
		"jwt-bearer without a key":                {fmt.Sprintf(`{grantTypes: [%q]}`, jwtBearer), "spec.publicKeys", "need publicKeys"},
		"a key without jwt-bearer":                {fmt.Sprintf(`{grantTypes: [client_credentials], publicKeys: [{pem: %q}]}`, publicKey), "spec.publicKeys", "nothing else uses them"},
		"a redirect by http":                      {redirect("http://example.com/"), "spec.redirectURIs[0]", "must be https: http is for localhost"},
		"a redirect to a host like localhost":     {redirect("http://localhost.example.com/"), "spec.redirectURIs[0]", "must be https: http is for localhost"},
		"a redirect by a scheme of its own":       {redirect("com.example.app:/cb"), "spec.redirectURIs", "is for clientType Public"},
		"a redirect with a fragment":              {redirect("https://example.com/#x"), "spec.redirectURIs[0]", "must have no fragment"},
		"a redirect with a wildcard":              {redirect("https://*.example.com/"), "spec.redirectURIs[0]", "neither a user name nor a wildcard"},
		"a redirect with a user name":             {redirect("https://example.com@evil.example/"), "spec.redirectURIs[0]", "must have a host name or address"},
		"a redirect with a backslash":             {redirect(`https://example.com\@evil.example/`), "spec.redirectURIs[0]", "must"},
		"a redirect with a space":                 {redirect("https://example.com/a b"), "spec.redirectURIs[0]", "percent-encode"},
		"a relative redirect":                     {redirect("/callback"), "spec.redirectURIs[0]", "must begin with https://"},
		"a redirect without a host":               {redirect("https:///callback"), "spec.redirectURIs[0]", "must have a host name or address"},
		"a redirect of 2001 characters":           {redirect("https://example.com/" + strings.Repeat("a", 1981)), "spec.redirectURIs[0]", "may not be more than 2000"},
		"a public client with client_credentials": {`{clientType: Public, grantTypes: [client_credentials]}`, "spec.clientType", "has no secret to authenticate with"},
		"a public client with a Secret":           {`{clientType: Public, grantTypes: [authorization_code], redirectURIs: ["https://a.example/"], credentials: {type: Secret}}`, "spec.credentials.type", "type None is for clientType Public"},
		"a confidential client without a secret":  {`{grantTypes: [password], credentials: {type: None}}`, "spec.credentials.type", "type None is for clientType Public"},
		"more than 1000 scopes":                   {`{grantTypes: [client_credentials], scopes: [` + strings.Repeat(`{scope: a},`, 1001) + `]}`, "spec.scopes", "at most 1000"},
		"a scope without a name":                  {`{grantTypes: [client_credentials], scopes: [{organizationID: o}]}`, "spec.scopes[0].scope", "Required"},
		"a scope with a space":                    {`{grantTypes: [client_credentials], scopes: [{scope: "a b"}]}`, "spec.scopes[0].scope", "should match"},
		"a context for an app with users":         {`{grantTypes: [password], scopes: [{scope: a, organizationID: o}]}`, "spec.scopes", "are for apps with client_credentials"},
		"openid for an app of its own":            {`{grantTypes: [client_credentials], scopes: [{scope: openid}]}`, "spec.scopes", "are for apps that act for users"},
		"a key that is not PEM":                   {fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{pem: hello}]}`, jwtBearer), "spec.publicKeys[0].pem", "must be one PEM block"},
		"a private key":                           {fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{pem: %q}]}`, jwtBearer, strings.ReplaceAll(publicKey, "PUBLIC", "PRIVATE")), "spec.publicKeys[0].pem", "is a private key"},
		"a key twice in one block":                {fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{pem: %q}]}`, jwtBearer, publicKey+publicKey), "spec.publicKeys[0].pem", "must be one PEM block"},
		"a key in two places":                     {fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{pem: %q, configMapRef: {name: a, key: b}}]}`, jwtBearer, publicKey), "spec.publicKeys[0]", "exactly one of pem and configMapRef"},
		"a key that is nowhere":                   {fmt.Sprintf(`{grantTypes: [%q], publicKeys: [{}]}`, jwtBearer), "spec.publicKeys[0]", "exactly one of pem and configMapRef"},
		"an audience that does not exist":         {`{grantTypes: [client_credentials], audience: nobody}`, "spec.audience", "Unsupported value"},
		"a website that is none":                  {`{grantTypes: [client_credentials], clientURI: "javascript:alert(1)"}`, "spec.clientURI", "absolute http or https address"},
		"a name of spaces":                        {`{grantTypes: [client_credentials], clientName: "  "}`, "spec.clientName", "should match"},
		"a label of Argo CD":                      {secret(`metadata: {labels: {argocd.argoproj.io/instance: x}}`), "spec.credentials.secret.metadata.labels", "must not use names of GitOps tools"},
		"a label that GitOps tools track":         {secret(`metadata: {labels: {app.kubernetes.io/instance: x}}`), "spec.credentials.secret.metadata.labels", "must not use names of GitOps tools"},
		"an annotation of kubectl":                {secret(`metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: x}}`), "spec.credentials.secret.metadata.annotations", "must not use names of GitOps tools"},
		"an annotation of Helm":                   {secret(`metadata: {annotations: {helm.sh/resource-policy: keep}}`), "spec.credentials.secret.metadata.annotations", "must not use names"},
		"an annotation of Flux":                   {secret(`metadata: {annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}}`), "spec.credentials.secret.metadata.annotations", "must not use names"},
		"a label of ours":                         {secret(`metadata: {labels: {connectedapps.dev/secret: referenced}}`), "spec.credentials.secret.metadata.labels", "must not use names"},
		"a label that is none":                    {secret(`metadata: {labels: {"a b": x}}`), "spec.credentials.secret.metadata.labels", "must be valid label names"},
		"a label value that is none":              {secret(`metadata: {labels: {a: "x y"}}`), "spec.credentials.secret.metadata.labels", "must be valid label names"},
		"a key that cannot be renamed":            {secret(`keys: {password: x}`), "spec.credentials.secret.keys", "can rename client-id"},
		"two values under one key":                {secret(`keys: {client-id: x, client-secret: x}`), "spec.credentials.secret.keys", "must give each value a name of its own"},
		"a key that the preset uses":              {secret(`keys: {client-id: client-secret}`), "spec.credentials.secret.keys", "must not give a value the name that the preset gives to another"},
		"a key that the preset env uses":          {secret(`preset: env, keys: {client-id: CLIENT_SECRET}`), "spec.credentials.secret.keys", "must not give a value the name that the preset gives to another"},
		"a key that Secrets do not take":          {secret(`keys: {client-id: "a/b"}`), "spec.credentials.secret.keys", "must consist of letters"},
		"a preset that does not exist":            {secret(`preset: camel`), "spec.credentials.secret.preset", "Unsupported value"},
		"a Secret name that is none":              {secret(`name: Not_A_Name`), "spec.credentials.secret.name", "should match"},
		"ExistingSecret without a name":           {`{grantTypes: [client_credentials], credentials: {type: ExistingSecret}}`, "spec.credentials.secret.name", "needs secret.name"},
		"metadata on somebody else's Secret":      {`{grantTypes: [client_credentials], credentials: {type: ExistingSecret, secret: {name: a, metadata: {labels: {a: b}}}}}`, "spec.credentials.secret.metadata", "does not write a Secret of type ExistingSecret"},
		"a way out by http":                       {`{grantTypes: [password], postLogoutRedirectURIs: ["http://example.com/"]}`, "spec.postLogoutRedirectURIs[0]", "must be https"},
		"a way out by a scheme of its own":        {`{grantTypes: [password], postLogoutRedirectURIs: ["com.example.app:/bye"]}`, "spec.postLogoutRedirectURIs", "is for clientType Public"},
		"a way out of an app without people":      {`{grantTypes: [client_credentials], postLogoutRedirectURIs: ["https://a.example/"]}`, "spec.postLogoutRedirectURIs", "acts for itself"},
		"providers without assertions":            {`{grantTypes: [password], identityProviders: [corp]}`, "spec.identityProviders", "are for the grant type urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"assertions for ever without assertions":  {`{grantTypes: [password], assertionsWithoutExpiry: true}`, "spec.assertionsWithoutExpiry", "no other takes assertions"},
		"consent where nobody is asked":           {`{grantTypes: [password], skipUserConsent: true}`, "spec.skipUserConsent", "no other asks people"},
		"consent of everybody's users":            {`{grantTypes: [authorization_code], redirectURIs: ["https://a.example/"], audience: everyone, skipUserConsent: true}`, "spec.skipUserConsent", "not possible with audience everyone"},
		"grace without refresh tokens":            {`{grantTypes: [password], refreshGraceSeconds: 1}`, "spec.refreshGraceSeconds", "is for the grant type refresh_token"},
		"more than an hour of grace":              {`{grantTypes: [authorization_code, refresh_token], redirectURIs: ["https://a.example/"], refreshGraceSeconds: 3601}`, "spec.refreshGraceSeconds", "less than or equal to 3600"},
		"authentication by a key":                 {`{grantTypes: [password], tokenEndpointAuthMethod: private_key_jwt}`, "spec.tokenEndpointAuthMethod", "private_key_jwt is for credentials of type PrivateKey or ServiceAccount"},
		"authentication with a Secret of a key":   {fmt.Sprintf(`{grantTypes: [password], publicKeys: [{pem: %q}], tokenEndpointAuthMethod: client_secret_post, credentials: {type: PrivateKey}}`, publicKey), "spec.tokenEndpointAuthMethod", "and these have no other"},
		"authentication with a Secret of a Pod":   {`{grantTypes: [client_credentials], tokenEndpointAuthMethod: client_secret_basic, credentials: {type: ServiceAccount, serviceAccounts: [{name: a}]}}`, "spec.tokenEndpointAuthMethod", "and these have no other"},
		"authentication that does not exist":      {`{grantTypes: [password], tokenEndpointAuthMethod: tls_client_auth}`, "spec.tokenEndpointAuthMethod", "Unsupported value"},
		"a private key that nobody knows":         {`{grantTypes: [client_credentials], credentials: {type: PrivateKey}}`, "spec.publicKeys", "need publicKeys"},
		"a private key that is rotated":           {fmt.Sprintf(`{grantTypes: [client_credentials], publicKeys: [{pem: %q}], credentials: {type: PrivateKey, rotation: {interval: 720h}}}`, publicKey), "spec.credentials.rotation", "rotation is for type Secret"},
		"a private key of a public client":        {fmt.Sprintf(`{clientType: Public, grantTypes: [authorization_code], redirectURIs: ["https://a.example/"], publicKeys: [{pem: %q}], credentials: {type: PrivateKey}}`, publicKey), "spec.credentials.type", "type None is for clientType Public"},
		"a ServiceAccount with a public key":      {fmt.Sprintf(`{grantTypes: [client_credentials], publicKeys: [{pem: %q}], credentials: {type: ServiceAccount, serviceAccounts: [{name: a}]}}`, publicKey), "spec.publicKeys", "nothing else uses them"},
		"no ServiceAccount":                       {serviceAccount(""), "spec.credentials.serviceAccounts", "type ServiceAccount needs serviceAccounts"},
		"an empty list of ServiceAccounts":        {serviceAccount("serviceAccounts: []"), "spec.credentials.serviceAccounts", "type ServiceAccount needs serviceAccounts"},
		"a ServiceAccount of type Secret":         {`{grantTypes: [client_credentials], credentials: {type: Secret, serviceAccounts: [{name: a}]}}`, "spec.credentials.serviceAccounts", "no other type uses them"},
		"a ServiceAccount of another namespace":   {serviceAccount(`serviceAccounts: [{name: "other:a"}]`), "spec.credentials.serviceAccounts[0].name", "should match"},
		"a ServiceAccount and its namespace":      {serviceAccount(`serviceAccounts: [{name: a, namespace: other}]`), "spec.credentials.serviceAccounts[0].namespace", "unknown field"},
		"any ServiceAccount":                      {serviceAccount(`serviceAccounts: [{name: "*"}]`), "spec.credentials.serviceAccounts[0].name", "should match"},
		"a ServiceAccount twice":                  {serviceAccount(`serviceAccounts: [{name: a}, {name: a}]`), "spec.credentials.serviceAccounts[1]", "Duplicate value"},
		"seventeen ServiceAccounts":               {serviceAccount(`serviceAccounts: [` + strings.Repeat(`{name: a},`, 17) + `]`), "spec.credentials.serviceAccounts", "at most 16"},
		"a binding of a ConfigMap":                {serviceAccount(`serviceAccounts: [{name: a}], secret: {preset: servicebinding}`), "spec.credentials.secret.preset", "a service binding is a Secret"},
		"authentication that is none":             {`{grantTypes: [password], tokenEndpointAuthMethod: none}`, "spec.tokenEndpointAuthMethod", "none is for clientType Public"},
		"authentication of a public client":       {`{clientType: Public, grantTypes: [authorization_code], redirectURIs: ["https://a.example/"], tokenEndpointAuthMethod: client_secret_post}`, "spec.tokenEndpointAuthMethod", "none is for clientType Public"},
		"a token format that does not exist":      {`{grantTypes: [password], accessTokenFormat: paseto}`, "spec.accessTokenFormat", "Unsupported value"},
		"an algorithm that signs nothing":         {`{grantTypes: [password], idTokenSigningAlg: none}`, "spec.idTokenSigningAlg", "Unsupported value"},
		"a TokenServer without a name":            {`{grantTypes: [client_credentials], tokenServerRef: {}}`, "spec.tokenServerRef.name", "Required"},
		"a policy that does not exist":            {`{grantTypes: [client_credentials], deletionPolicy: Keep}`, "spec.deletionPolicy", "Unsupported value"},
	} {
		t.Run(name, func(t *testing.T) {
			err := create(t, manifest(t, "ConnectedApp", "app", row.spec))
			require.ErrorContains(t, err, row.field)
			require.ErrorContains(t, err, row.says)
			require.NotContains(t, err.Error(), "conversion error", "it is a sentence of ours")
		})
	}
}

// The table that internal/plan reads as well, asked of the API server itself.
func TestRedirectURIsAsThePlanReadsThem(t *testing.T) {
	for _, row := range plantest.RedirectURIs() {
		t.Run(row.Name, func(t *testing.T) {
			app := manifest(t, "ConnectedApp", "app", `{clientType: Public, grantTypes: [authorization_code]}`)
			require.NoError(t, unstructured.SetNestedStringSlice(app.Object, []string{row.URI}, "spec", "redirectURIs"))
			err := create(t, app)
			if row.Says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "spec.redirectURIs[0]")
			if row.URI != "" { // the schema's own minimum speaks first
				require.ErrorContains(t, err, row.Says)
			}
		})
	}
}

func TestNamesAreShortEnoughForTheirSecrets(t *testing.T) {
	for _, kind := range []struct{ kind, spec string }{
		{"ConnectedApp", `grantTypes: [client_credentials]`}, {"AccessToken", `connectedAppRef: {name: app}`},
	} {
		require.NoError(t, create(t, manifest(t, kind.kind, strings.Repeat("a", 52), kind.spec)))
		err := create(t, manifest(t, kind.kind, strings.Repeat("a", 53), kind.spec))
		require.ErrorContains(t, err, "metadata.name must have at most 52 characters")
	}
}

func TestTheTokenServerOfAnAppCannotBeChanged(t *testing.T) {
	app := manifest(t, "ConnectedApp", "immutable", `grantTypes: [client_credentials]`)
	require.NoError(t, plane.Client.Create(t.Context(), app))
	t.Cleanup(func() { _ = plane.Client.Delete(t.Context(), app) })

	require.NoError(t, unstructured.SetNestedField(app.Object, "default", "spec", "tokenServerRef", "name"))
	require.NoError(t, plane.Client.Update(t.Context(), app), "default is what an omitted reference means")

	require.NoError(t, unstructured.SetNestedField(app.Object, "other", "spec", "tokenServerRef", "name"))
	err := plane.Client.Update(t.Context(), app)
	require.ErrorContains(t, err, "spec.tokenServerRef")
	require.ErrorContains(t, err, "cannot be changed")
}

func TestTokenServerManifests(t *testing.T) {
	const rest = `credentials: {type: Secret, secretRef: {name: admin}}`
	rule := func(rest string) string {
		return `{url: "https://id.example.com", credentials: {type: Secret, secretRef: {name: a}}, access: [{name: a, namespaceSelector: {}, grantTypes: [password], ` + rest + `}]}`
	}
	for name, row := range map[string]struct{ spec, field, says string }{
		"a server on https":                {`{url: "https://id.example.com", ` + rest + `}`, "", ""},
		"a server under a path":            {`{url: "https://example.com/id", ` + rest + `}`, "", ""},
		"a server on loopback":             {`{url: "http://127.0.0.1:8080", ` + rest + `}`, "", ""},
		"a server on loopback, version 6":  {`{url: "http://[::1]:8080", ` + rest + `}`, "", ""},
		"wildcards where they are allowed": {rule(`scopes: [{scope: "view:*"}, {scope: "*"}], redirectHosts: ["*.example.com", "a-b.example.com", "[::1]"]`), "", ""},
		"all the power there is":           {rule(`identityProviders: [corp], allowSkipUserConsent: true, allowAssertionsWithoutExpiry: true, allowDefaultServiceAccount: true, deletionPolicies: [Delete, Orphan]`), "", ""},
		"schemes of native apps":           {rule(`redirectSchemes: [com.example.app]`), "", ""},
		"a selector with expressions":      {`{url: "https://a.example", credentials: {type: Secret, secretRef: {name: a}}, access: [{name: a, namespaceSelector: {matchExpressions: [{key: a, operator: In, values: [b]}, {key: c, operator: Exists}]}, grantTypes: [password]}]}`, "", ""},

		"a cluster by its name": {`{url: "https://a.example", workloadIssuer: prod.eu-1, ` + rest + `}`, "", ""},

		"plain http":                    {`{url: "http://id.example.com", ` + rest + `}`, "spec.url", "must be an https URL"},
		"something that is no URL":      {`{url: "id.example.com", ` + rest + `}`, "spec.url", "must be an https URL"},
		"a slash at the end":            {`{url: "https://id.example.com/", ` + rest + `}`, "spec.url", "must have no slash at the end"},
		"a password in the URL":         {`{url: "https://u:p@id.example.com", ` + rest + `}`, "spec.url", "no user name"},
		"an internal address by http":   {`{url: "https://a.example", internalURL: "http://tokenserver.ns.svc", ` + rest + `}`, "spec.internalURL", "must be an https URL"},
		"no credentials":                {`{url: "https://a.example"}`, "spec.credentials", "Required"},
		"credentials without a Secret":  {`{url: "https://a.example", credentials: {type: Secret}}`, "spec.credentials.secretRef", "is for type Secret, which needs it"},
		"no requests at all":            {`{url: "https://a.example", requestsPerSecond: 0, ` + rest + `}`, "spec.requestsPerSecond", "greater than or equal to 1"},
		"a timeout that is no duration": {`{url: "https://a.example", deletionTimeout: 7d, ` + rest + `}`, "spec.deletionTimeout", `Invalid value: "7d": must be a duration from 0s to 168h`},
		"a timeout below zero":          {`{url: "https://a.example", deletionTimeout: -1s, ` + rest + `}`, "spec.deletionTimeout", "from 0s to 168h"},
		"a wildcard within a scope":     {rule(`scopes: [{scope: "view:*:x"}]`), "scopes[0].scope", "should match"},
		"a wildcard within a host":      {rule(`redirectHosts: ["a.*.example.com"]`), "redirectHosts", "only as a leading"},
		"a host with a port":            {rule(`redirectHosts: ["example.com:443"]`), "redirectHosts", "without scheme, port and path"},
		"a host in upper case":          {rule(`redirectHosts: ["Example.com"]`), "redirectHosts", "in lower case"},
		"a scheme without a dot":        {rule(`redirectSchemes: [javascript]`), "redirectSchemes", "reverse-domain form"},
		"a scheme with its colon":       {rule(`redirectSchemes: ["com.example.app:"]`), "redirectSchemes", "without colon"},
		"a cluster that is no name":     {`{url: "https://a.example", workloadIssuer: "https://kubernetes.default.svc", ` + rest + `}`, "spec.workloadIssuer", "should match"},
		"no way to delete":              {rule(`deletionPolicies: []`), "deletionPolicies", "at least 1"},
		"a way to delete of no kind":    {rule(`deletionPolicies: [Keep]`), "deletionPolicies[0]", "Unsupported value"},
		"a rule without a selector":     {`{url: "https://a.example", credentials: {type: Secret, secretRef: {name: a}}, access: [{name: a, grantTypes: [password]}]}`, "namespaceSelector", "Required"},
		"two rules of one name":         {`{url: "https://a.example", credentials: {type: Secret, secretRef: {name: a}}, access: [{name: a, namespaceSelector: {}, grantTypes: [password]}, {name: a, namespaceSelector: {}, grantTypes: [password]}]}`, "spec.access[1]", "Duplicate"},
		"a selector without values":     {`{url: "https://a.example", credentials: {type: Secret, secretRef: {name: a}}, access: [{name: a, namespaceSelector: {matchExpressions: [{key: a, operator: In}]}, grantTypes: [password]}]}`, "matchExpressions[0]", "In and NotIn need values"},
	} {
		t.Run(name, func(t *testing.T) {
			err := create(t, manifest(t, "TokenServer", "server", row.spec))
			if row.field == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, row.field)
			require.ErrorContains(t, err, row.says)
		})
	}
}

func TestAccessTokenManifests(t *testing.T) {
	for name, row := range map[string]struct{ spec, field, says string }{
		"the least possible":         {`{connectedAppRef: {name: app}}`, "", ""},
		"all there is":               {`{connectedAppRef: {name: app}, secret: {name: t, metadata: {labels: {a: b}}}, scopes: [a, b], grant: {type: ClientCredentials}, suspend: true}`, "", ""},
		"no app":                     {`{}`, "spec.connectedAppRef", "Required"},
		"no scope in the list":       {`{connectedAppRef: {name: app}, scopes: []}`, "spec.scopes", "at least 1"},
		"two scopes in one":          {`{connectedAppRef: {name: app}, scopes: ["a b"]}`, "spec.scopes[0]", "should match"},
		"a scope twice":              {`{connectedAppRef: {name: app}, scopes: [a, a]}`, "spec.scopes[1]", "Duplicate"},
		"an unknown grant":           {`{connectedAppRef: {name: app}, grant: {type: Implicit}}`, "spec.grant.type", "Unsupported value"},
		"a label of GitOps":          {`{connectedAppRef: {name: app}, secret: {metadata: {labels: {argocd.argoproj.io/instance: x}}}}`, "spec.secret.metadata.labels", "must not use names"},
		"an unknown field":           {`{connectedAppRef: {name: app}, token: x}`, "spec.token", "unknown field"},
		"workloads to restart":       {`{connectedAppRef: {name: app}, restart: [{kind: Deployment, name: a}, {kind: DaemonSet, name: a}]}`, "", ""},
		"a workload elsewhere":       {`{connectedAppRef: {name: app}, restart: [{kind: Deployment, name: a, namespace: b}]}`, "spec.restart[0].namespace", "unknown field"},
		"a workload that is no name": {`{connectedAppRef: {name: app}, restart: [{kind: Deployment, name: "a b"}]}`, "spec.restart[0].name", "should match"},
		"too many workloads":         {`{connectedAppRef: {name: app}, restart: [` + strings.Repeat(`{kind: Deployment, name: a},`, 17) + `]}`, "spec.restart", "must have at most 16 items"},
	} {
		t.Run(name, func(t *testing.T) {
			err := create(t, manifest(t, "AccessToken", "token", row.spec))
			if row.field == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, row.field)
			require.ErrorContains(t, err, row.says)
		})
	}
}

// A new object must not pass for a ready one while nobody has looked at it.
func TestANewObjectIsNotCurrent(t *testing.T) {
	app := manifest(t, "ConnectedApp", "fresh", `grantTypes: [client_credentials]`)
	require.NoError(t, plane.Client.Create(t.Context(), app))
	t.Cleanup(func() { _ = plane.Client.Delete(t.Context(), app) })
	observed, _, err := unstructured.NestedInt64(app.Object, "status", "observedGeneration")
	require.NoError(t, err)
	require.Equal(t, int64(-1), observed)
	require.Equal(t, "InProgress", string(testenv.KStatus(t, app)))
}

// What was applied is what is read back: a default in a spec would show as a
// difference for ever.
func TestNothingIsAddedToASpec(t *testing.T) {
	for kind, spec := range map[string]string{
		"ConnectedApp": `grantTypes: [client_credentials]`,
		"AccessToken":  `connectedAppRef: {name: app}`,
		"TokenServer":  `{url: "https://id.example.com", credentials: {type: Secret, secretRef: {name: a}}}`,
	} {
		o := manifest(t, kind, "defaults", spec)
		want := o.DeepCopy()
		require.NoError(t, create(t, o))
		require.Equal(t, want.Object["spec"], o.Object["spec"], kind)
	}
}
