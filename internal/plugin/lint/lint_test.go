// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/plugin/lint"
)

// check returns the findings as lines: line, severity, rule and field.
func check(t *testing.T, text string, o lint.Options) (lines, messages []string) {
	t.Helper()
	o.SystemNamespace = "connectedapps-system"
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	report, err := lint.Check(t.Context(), []lint.File{{Name: "a.yaml", Data: []byte(text)}}, o)
	require.NoError(t, err)
	for _, f := range report.Findings {
		lines = append(lines, fmt.Sprintf("%d %s %s %s", f.Line, f.Severity, f.Rule, f.Field))
		messages = append(messages, f.Message)
	}
	return lines, messages
}

const app = `apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: shop}
`

func TestWhatIsWrongIsFoundWhereItIsWritten(t *testing.T) {
	for name, row := range map[string]struct {
		manifest string
		want     []string
		says     string
	}{
		"nothing":                   {app + "spec: {grantTypes: [client_credentials]}", nil, ""},
		"comments and empty ones":   {"# a\n---\n---\n# b\n" + app + "spec: {grantTypes: [client_credentials]}\n---\n", nil, ""},
		"another group":             {"apiVersion: example.com/v1\nkind: Thing\nspec: 5", nil, ""},
		"an unknown field":          {app + "spec:\n  grantTypes: [client_credentials]\n  scope: a", []string{"6 error unknown-field spec.scope"}, "unknown field"},
		"an unknown field of a key": {app + "spec:\n  grantTypes: [client_credentials]\n  scopes:\n  - scope: a\n  - scope: b\n    org: x", []string{"9 error unknown-field spec.scopes[1].org"}, ""},
		"one in the metadata":       {strings.Replace(app, "{name: shop}", "{name: shop, label: {}}", 1) + "spec: {grantTypes: [client_credentials]}", []string{"3 error unknown-field metadata.label"}, ""},
		"a field twice":             {app + "spec:\n  grantTypes: [password]\n  grantTypes: [client_credentials]", []string{"6 error duplicate-field spec.grantTypes"}, "one of the two would be lost"},
		"a rule of one object":      {app + "spec:\n  grantTypes:\n  - client_credentials\n  - password", []string{"5 error validation-rule spec.grantTypes"}, "must be the only grant type"},
		"a value of no such":        {app + "spec:\n  grantTypes:\n  - client_credentials\n  - implicit", []string{"7 error schema spec.grantTypes[1]"}, "Unsupported value"},
		"what is missing":           {app + "spec:\n  scopes: []", []string{"4 error schema spec.grantTypes"}, "Required value"},
		"a name that is none":       {strings.Replace(app, "shop", "Shop", 1) + "spec: {grantTypes: [client_credentials]}", []string{"3 error metadata metadata.name"}, "RFC 1123"},
		"labels that are none":      {strings.Replace(app, "{name: shop}", "{name: shop, labels: {a: 5}}", 1) + "spec: {grantTypes: [client_credentials]}", []string{"3 error metadata metadata"}, "cannot unmarshal number"},
		"a kind of no such":         {"apiVersion: connectedapps.dev/v1alpha1\nkind: App", []string{"2 error api-version kind"}, "there is no kind App"},
		"another version":           {"kind: ConnectedApp\napiVersion: connectedapps.dev/v1", []string{"2 error api-version apiVersion"}, "use connectedapps.dev/v1alpha1"},
		"no object":                 {"a: b", []string{"1 error object "}, "no apiVersion"},
		"a text":                    {"hello", []string{"1 error yaml "}, "is no YAML of one object"},
		"the second is broken":      {app + "spec: {grantTypes: [client_credentials]}\n---\na: b\nc: [", []string{"7 error yaml "}, ""},
		"the second of a list": {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n- apiVersion: connectedapps.dev/v1alpha1\n" +
			"  kind: AccessToken\n  metadata: {name: a}\n  spec: {}", []string{"9 error schema spec.connectedAppRef"}, "Required"},
		"in a list of a list": {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items:\n  - apiVersion: connectedapps.dev/v1alpha1\n" +
			"    kind: AccessToken\n    metadata: {name: a}\n    spec: {}", []string{"10 error schema spec.connectedAppRef"}, "Required"},
		"after a document of dashes": {"--- # first\n" + app + "spec: {}", []string{"5 error schema spec.grantTypes"}, ""},
		"a private key, which nobody sees again": {app + "spec:\n  grantTypes: ['urn:ietf:params:oauth:grant-type:jwt-bearer']\n  publicKeys:\n" +
			"  - pem: |\n      -----BEGIN PRIVATE KEY-----\n      c2VjcmV0\n      -----END PRIVATE KEY-----\n", []string{"7 error validation-rule spec.publicKeys[0].pem"}, "is a private key"},
		"the token server's Secret": {"apiVersion: connectedapps.dev/v1alpha1\nkind: AccessToken\nmetadata: {name: a, namespace: connectedapps-system}\n" +
			"spec: {connectedAppRef: {name: a}, secret: {name: tokenserver-keys}}", []string{"4 error reserved-name spec"}, "belongs to the token server in this namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			lines, messages := check(t, row.manifest, lint.Options{})
			if row.want == nil {
				require.Empty(t, lines)
				return
			}
			require.Equal(t, row.want, lines[:min(1, len(lines))], messages)
			require.Contains(t, messages[0], row.says)
			require.NotContains(t, messages[0], "c2VjcmV0")
		})
	}
}

const server = `apiVersion: connectedapps.dev/v1alpha1
kind: TokenServer
metadata: {name: default}
spec:
  url: https://id.example.com
  credentials: {type: Secret, secretRef: {name: admin}}
  access:
  - name: payments
    namespaceSelector: {matchLabels: {team: payments}}
    grantTypes: [client_credentials]
    scopes: [{scope: profile}, {scope: "view:*", organizationIDs: [org-1]}]
    deletionPolicies: [Delete]
`

func TestAppsAreJudgedByTheAccessRulesThatAreGiven(t *testing.T) {
	payments := "apiVersion: v1\nkind: Namespace\nmetadata: {name: payments, labels: {team: payments}}\n---\n"
	for name, row := range map[string]struct {
		manifest string
		labels   map[string]string
		want     string
		says     string
	}{
		"allowed by the namespace's manifest": {payments + app + "spec: {grantTypes: [client_credentials], scopes: [{scope: profile}]}", nil, "", ""},
		"allowed by labels that are given":    {app + "spec: {grantTypes: [client_credentials], scopes: [{scope: profile}]}", map[string]string{"team": "payments"}, "", ""},
		"of a namespace of which nothing is known": {app + "spec: {grantTypes: [client_credentials]}", nil, "4 error access-rule spec",
			"no access rule of the TokenServer selects namespace payments by its labels; ask the platform team for such a rule or label " +
				"(no manifest of namespace payments is given, and no --namespace-labels: only its name is known)"},
		"a scope that no rule has": {payments + app + "spec: {grantTypes: [client_credentials], scopes: [{scope: full}]}", nil, "8 error access-rule spec",
			"does not allow scope full (rule payments allows profile, view:* in organization org-1)"},
		"what only the server knows": {payments + app + "spec: {grantTypes: [client_credentials], scopes: [{scope: 'view:x'}]}", nil,
			"8 warning organization-not-known spec.scopes", "is for organization org-1"},
		"a deletion policy that no rule has": {payments + app + "spec: {grantTypes: [client_credentials], deletionPolicy: Orphan}", nil, "8 error access-rule spec",
			"access rule payments does not allow deletionPolicy Orphan"},
		"another TokenServer": {app + "spec: {grantTypes: [client_credentials], tokenServerRef: {name: other}}", nil,
			"4 warning tokenserver-not-given spec.tokenServerRef", "TokenServer other is not among those of --policy (default)"},
	} {
		t.Run(name, func(t *testing.T) {
			lines, messages := check(t, row.manifest, lint.Options{
				Namespace: "payments", NamespaceLabels: row.labels, Policy: []lint.File{{Name: "server.yaml", Data: []byte(server)}},
			})
			if row.want == "" {
				require.Empty(t, lines, messages)
				return
			}
			require.Equal(t, []string{row.want}, lines)
			require.Contains(t, messages[0], row.says)
		})
	}
	lines, _ := check(t, app+"spec: {grantTypes: [client_credentials]}", lint.Options{Policy: []lint.File{{Name: "server.yaml", Data: []byte(strings.Replace(server, "url:", "uri:", 1))}}})
	require.Contains(t, lines, "5 error unknown-field spec.uri", "the policy is judged too")
}

func token(spec string) string {
	return app + "spec: {grantTypes: [client_credentials]}\n---\napiVersion: connectedapps.dev/v1alpha1\nkind: AccessToken\nmetadata: {name: a}\nspec: " + spec
}

func TestAccessTokensFitTheirApps(t *testing.T) {
	lines, _ := check(t, token("{connectedAppRef: {name: shop}}"), lint.Options{})
	require.Empty(t, lines)
	lines, messages := check(t, token("{connectedAppRef: {name: shop}, grant: {type: Password, password: {secretRef: {name: a}}}}"), lint.Options{})
	require.Equal(t, []string{"9 error app-does-not-fit spec.connectedAppRef.name"}, lines)
	require.Contains(t, messages[0], "needs an app with password")
	lines, _ = check(t, token("\n  connectedAppRef:\n    name: other"), lint.Options{})
	require.Equal(t, []string{"11 warning app-not-given spec.connectedAppRef.name"}, lines)
}

// workload is a Deployment web with a container.
func workload(kind, version, container string) string {
	path := "  template: {spec: {volumes: [{name: c, secret: {secretName: shop-credentials}}, " +
		"{name: p, projected: {sources: [{secret: {name: a-token}}]}}, {name: o, secret: {secretName: other}}], containers: [" + container + "]}}"
	switch kind {
	case "Pod":
		path = strings.TrimSuffix(strings.TrimPrefix(path, "  template: {spec: {"), "}}")
		path = "  {" + path + "}"
	case "CronJob":
		path = "  jobTemplate:\n    spec:\n    " + path
	}
	return "---\napiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: web}\nspec:\n" + path
}

func TestPodsThatARotationDoesNotReach(t *testing.T) {
	const (
		byEnv     = `{name: a, env: [{name: X, valueFrom: {secretKeyRef: {name: shop-credentials, key: client-secret}}}]}`
		byEnvFrom = `{name: a, envFrom: [{secretRef: {name: a-token}}]}`
		bySubPath = `{name: a, volumeMounts: [{name: p, mountPath: /x, subPath: access-token}]}`
		well      = `{name: a, envFrom: [{secretRef: {name: other}}], volumeMounts: [{name: c, mountPath: /x}, {name: o, mountPath: /y, subPath: z}]}`
	)
	for kind, row := range map[string]struct{ version, path string }{
		"Pod": {"v1", "spec"}, "Deployment": {"apps/v1", "spec.template.spec"}, "StatefulSet": {"apps/v1", "spec.template.spec"},
		"DaemonSet": {"apps/v1", "spec.template.spec"}, "Job": {"batch/v1", "spec.template.spec"}, "CronJob": {"batch/v1", "spec.jobTemplate.spec.template.spec"},
	} {
		t.Run(kind, func(t *testing.T) {
			objects := token("{connectedAppRef: {name: shop}}") + "\n"
			lines, messages := check(t, objects+workload(kind, row.version, byEnv), lint.Options{})
			require.Len(t, lines, 1)
			require.Contains(t, lines[0], " warning secret-in-environment "+row.path+".containers[0].env[0].valueFrom.secretKeyRef")
			require.Contains(t, messages[0], "reads Secret shop-credentials of ConnectedApp shop")
			require.Contains(t, messages[0], "mount the Secret as a folder, without subPath")
			require.Equal(t, row.version == "apps/v1", strings.Contains(messages[0], "spec.credentials.secret.restart of ConnectedApp shop"))
			lines, messages = check(t, objects+workload(kind, row.version, byEnvFrom), lint.Options{})
			require.Len(t, lines, 1)
			require.Contains(t, messages[0], "reads Secret a-token of AccessToken a")
			lines, _ = check(t, objects+workload(kind, row.version, bySubPath), lint.Options{})
			require.Len(t, lines, 1)
			require.Contains(t, lines[0], " warning secret-by-subpath "+row.path+".containers[0].volumeMounts[0].subPath")
			lines, _ = check(t, objects+workload(kind, row.version, well), lint.Options{})
			require.Empty(t, lines)
			lines, _ = check(t, objects+strings.Replace(workload(kind, row.version, byEnv), "name: web", "name: web, namespace: other", 1), lint.Options{})
			require.Empty(t, lines, "another namespace has other Secrets")
		})
	}
	restarted := app + "spec: {grantTypes: [client_credentials], credentials: {type: Secret, secret: {restart: [{kind: Deployment, name: web}]}}}\n"
	lines, _ := check(t, restarted+workload("Deployment", "apps/v1", byEnv), lint.Options{})
	require.Empty(t, lines, "it is rolled out")
	lines, _ = check(t, restarted+workload("DaemonSet", "apps/v1", byEnv), lint.Options{})
	require.Len(t, lines, 1)
}

// A folder may hold other files, of which a person who names one wants to hear.
func TestWhatIsNoManifestIsPassedOverInAFolder(t *testing.T) {
	for text, want := range map[string]int{"replicas: 1": 0, "kind: ConnectedApp": 1, "apiVersion: v1": 1} {
		report, err := lint.Check(t.Context(), []lint.File{{Name: "values.yaml", Data: []byte(text), Found: true}}, lint.Options{})
		require.NoError(t, err)
		require.Len(t, report.Findings, want, text)
	}
}

// What readers copy has nothing that would be found in theirs.
func TestTheSamplesAreClean(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	var files []lint.File
	for _, pattern := range []string{"config/samples/*.yaml", "config/samples/*/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, name := range found {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			files = append(files, lint.File{Name: name, Data: data, Found: true})
		}
	}
	require.Greater(t, len(files), 5)
	server, err := os.ReadFile(filepath.Join(root, "config/samples/connectedapps_v1alpha1_tokenserver.yaml"))
	require.NoError(t, err)
	report, err := lint.Check(t.Context(), files, lint.Options{Namespace: "default", Policy: []lint.File{{Name: "server.yaml", Data: server}}})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.GreaterOrEqual(t, report.Objects, 5)
}

// Whatever is given, each finding is in the file.
func FuzzAnyFileIsRead(f *testing.F) {
	for _, seed := range []string{
		app + "spec: {grantTypes: [client_credentials]}", "a: &a [*a]", "---\n--- #\n\x00", "<<: {a: b}\na: c", "[[[[", "kind: List\napiVersion: v1\nitems: [1, {}, null]",
		server, token("{connectedAppRef: {name: shop}}"), "{\"apiVersion\": \"connectedapps.dev/v1alpha1\", \"kind\": \"ConnectedApp\", \"metadata\": 5}",
		"? [a]\n: b", "apiVersion: connectedapps.dev/v1alpha1\nkind: TokenServer\nmetadata:\nspec: &x {access: [*x]}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := lint.Check(t.Context(), []lint.File{{Name: "a.yaml", Data: data}}, lint.Options{Namespace: "default"})
		require.NoError(t, err)
		breaks := 0
		for _, r := range string(data) {
			if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) { // those of YAML
				breaks++
			}
		}
		for _, finding := range report.Findings {
			require.Positive(t, finding.Line)
			require.LessOrEqual(t, finding.Line, breaks+2)
			require.NotEmpty(t, finding.Message)
		}
	})
}
