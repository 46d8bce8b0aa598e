// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// manifest is a ConnectedApp as an app team writes it.
func (a *team) manifest(name string, lines ...string) string {
	text := "---\napiVersion: connectedapps.dev/v1alpha1\nkind: ConnectedApp\nmetadata: {name: " + name + "}\n" +
		"spec:\n  tokenServerRef: {name: " + a.server.Name + "}\n  grantTypes: [client_credentials]\n"
	for _, line := range lines {
		text += "  " + line + "\n"
	}
	return text
}

// differs runs diff on manifests and returns its exit status.
func (a *team) differs(t *testing.T, o DiffOptions, manifests ...string) (status int, err error) {
	t.Helper()
	list, err := Resources(resource.FilenameOptions{Filenames: []string{"-"}}, strings.NewReader(strings.Join(manifests, "")))
	require.NoError(t, err)
	err = a.Diff(t.Context(), list, o)
	if exit, ok := errors.AsType[*Exit](err); ok {
		return exit.Status, exit.Err
	}
	require.NoError(t, err)
	return 0, nil
}

// shows holds a difference and its exit status to testdata/NAME.
func (a *team) shows(t *testing.T, name string, o DiffOptions, manifests ...string) {
	t.Helper()
	a.says(t, name, func() error {
		status, err := a.differs(t, o, manifests...)
		_, _ = fmt.Fprintf(a.said, "exit status %d\n", status)
		return err
	})
}

const profile = "scopes: [{scope: profile}]"

func TestDiffShowsWhatAnApplyChanges(t *testing.T) {
	stop := plane.StartManager(t)
	a := newTeam(t)
	kubectl := plane.Kubectl(t)
	applied := a.manifest("gitproxy", profile) + a.manifest("reports", profile)
	kubectl.Run(t, applied, "apply", "-n", a.Namespace, "-f", "-")
	for _, name := range []string{"gitproxy", "reports"} {
		app := &v1alpha1.ConnectedApp{}
		app.Namespace, app.Name = a.Namespace, name
		t.Cleanup(func() { plane.Remove(app) })
		a.until(t, app, "Ready", "Ready")
	}
	unchanged := a.manifest("gitproxy", profile)
	changed := a.manifest("gitproxy", "clientName: GitProxy", "scopes: [{scope: profile}, {scope: view:environment}]", "credentials: {type: Secret, secret: {name: proxy}}")
	added := a.manifest("new", profile)
	secretless := a.manifest("reports", profile, "credentials: {type: PrivateKey}", "publicKeys: [{configMapRef: {name: keys, key: a.pem}}]")
	refused := a.manifest("reports", "scopes: [{scope: profile}, {scope: manage:orgconnapps}]", "deletionPolicy: Orphan")
	team := a.Client

	t.Run("to an app team", func(t *testing.T) {
		a.shows(t, "diff-unchanged.txt", DiffOptions{}, unchanged)
		a.shows(t, "diff-changed.txt", DiffOptions{}, changed, added)
		a.shows(t, "diff-secretless.txt", DiffOptions{}, secretless)
		a.shows(t, "diff-invalid.txt", DiffOptions{}, a.manifest("bad", "scope: profile"), unchanged)
		a.shows(t, "diff-adopt.txt", DiffOptions{}, strings.Replace(added, "{name: new}", "{name: new, annotations: {connectedapps.dev/adopt-client-id: portal}}", 1))
		a.shows(t, "diff-rotate.txt", DiffOptions{}, strings.Replace(unchanged, "{name: gitproxy}", "{name: gitproxy, annotations: {connectedapps.dev/rotate-requested-at: now}}", 1))
		a.shows(t, "diff-suspended.txt", DiffOptions{}, changed+"  suspend: true\n")
		a.shows(t, "diff-others.txt", DiffOptions{}, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
		a.shows(t, "diff-markdown.txt", DiffOptions{Markdown: true}, changed, a.manifest("evil", `clientName: "<b>@all</b> | [x](https://example.com) www.example.com *_~"`))
	})
	t.Run("to the platform team", func(t *testing.T) {
		a.Client = plane.Client
		a.shows(t, "diff-platform.txt", DiffOptions{Live: true}, changed, added)
		a.shows(t, "diff-refused.txt", DiffOptions{}, refused)
		a.shows(t, "diff-no-tokenserver.txt", DiffOptions{}, strings.Replace(added, a.server.Name, "nowhere", 1))
	})
	t.Run("to who may not apply", func(t *testing.T) {
		a.Client = a.as(t, "view", "connectedapps-aggregate-to-view").Client
		a.shows(t, "diff-view.txt", DiffOptions{}, changed, added)
		a.shows(t, "diff-view-live.txt", DiffOptions{Live: true}, unchanged)
	})
	t.Run("to who has no right", func(t *testing.T) {
		a.Client = a.user(t, "nobody").Client
		a.shows(t, "diff-no-rights.txt", DiffOptions{}, unchanged)
	})
	t.Run("as a server-side apply, which leaves what others manage", func(t *testing.T) {
		a.Client = team
		status, err := a.differs(t, DiffOptions{ServerSide: true, FieldManager: "gitops"}, a.manifest("reports", profile, "clientName: Reports"))
		require.NoError(t, err)
		require.Equal(t, DiffChanges, status)
		require.Contains(t, a.out.String(), "~ clientName: "+a.Namespace+"/reports → Reports")
	})
	t.Run("of what somebody changed on the server, when it is asked", func(t *testing.T) {
		a.Client = plane.Client
		stop()
		app := &v1alpha1.ConnectedApp{}
		require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: a.Namespace, Name: "gitproxy"}, app))
		api, err := a.registrar(t.Context(), a.server)
		require.NoError(t, err)
		defer api.Close()
		_, err = api.Update(t.Context(), app.Status.ClientID, renamed("Mallory"))
		require.NoError(t, err)
		a.shows(t, "diff-drift.txt", DiffOptions{Live: true}, unchanged)
		status, err := a.differs(t, DiffOptions{}, unchanged)
		require.NoError(t, err)
		require.Zero(t, status, "an object tells nothing of it")
		require.NoError(t, api.Delete(t.Context(), app.Status.ClientID))
		a.shows(t, "diff-gone.txt", DiffOptions{Live: true}, unchanged)
	})
	t.Run("without a token server", func(t *testing.T) {
		a.instance.Stop(t)
		a.shows(t, "diff-server-away.txt", DiffOptions{}, changed)
		a.out.Reset()
		status, err := a.differs(t, DiffOptions{Live: true}, changed)
		require.Equal(t, DiffFailed, status)
		require.ErrorContains(t, err, "ConnectedApp "+a.Namespace+"/gitproxy: ")
		require.NotContains(t, err.Error(), a.instance.AdminClientSecret)
	})
}

// Whether there is an object, and which apply it is, makes no difference to what is
// said of a manifest that the API server does not take.
func TestDiffSaysWhatIsWrongWithAManifest(t *testing.T) {
	a := &team{site: newSite(t)}
	a.server = withRules(t)
	plane.Kubectl(t).Run(t, a.manifest("there", profile), "apply", "-n", a.Namespace, "-f", "-")
	const (
		head = "apiVersion: connectedapps.dev/v1alpha1\nkind: ConnectedApp\n"
		lint = "; kubectl connectedapp lint -f FILE, in which line this is"
	)
	for name, test := range map[string]struct {
		manifest string
		says     []string
		// serverSide is what is said then, if it differs; "-" for what is no fault
		// then, of what there is.
		serverSide string
	}{
		"fields that are misspelled": {
			manifest: a.manifest("APP", "scope: profile", "grantTypez: []"),
			says: []string{
				"FILE: ConnectedApp NAMESPACE/APP: the API server does not take it:\n", "\n  spec.grantTypez: unknown field\n", "\n  spec.scope: unknown field\n",
				"\n  kubectl explain connectedapp.spec tells what there is" + lint,
			},
			serverSide: ": unknown field\n  kubectl explain connectedapp.spec tells what there is", // one of them
		},
		"a field of an item that is misspelled": {
			manifest: a.manifest("APP", "scopes: [{name: profile, scope: profile}]"),
			says:     []string{"\n  spec.scopes[0].name: unknown field\n  kubectl explain connectedapp.spec.scopes tells what there is" + lint},
			// As it counts items of a map.
			serverSide: ".name: unknown field\n",
		},
		"a misspelled field of the metadata": {
			manifest: head + "metadata: {name: APP, label: {a: b}}\nspec: {grantTypes: [client_credentials]}\n",
			says:     []string{"\n  metadata.label: unknown field\n  kubectl explain connectedapp.metadata tells what there is" + lint},
		},
		"a field that is missing": {
			manifest:   head + "metadata: {name: APP}\nspec: {clientName: x}\n",
			says:       []string{"does not take it:\n  spec.grantTypes: Required value\n  kubectl explain connectedapp.spec.grantTypes tells what there is" + lint},
			serverSide: "-",
		},
		"values of another type": {
			manifest:   a.manifest("APP", "scopes: profile", "enabled: soon"),
			says:       []string{"\n  spec.scopes: Invalid value: \"string\": spec.scopes in body must be of type array: \"string\"\n", "\n  spec.enabled: Invalid value"},
			serverSide: "\n  spec.scopes: expected list\n",
		},
		"a value that is none of those there are": {
			manifest: a.manifest("APP", profile, "clientType: Secretive"),
			says:     []string{"does not take it:\n  spec.clientType: Unsupported value: \"Secretive\": supported values: \"Confidential\", \"Public\"\n"},
		},
		"what a rule refuses": {
			manifest: a.manifest("APP", profile, "credentials: {type: Secret, rotation: {interval: 30d}}"),
			says: []string{
				"does not take it:\n  spec.credentials.rotation.interval: Invalid value: \"30d\": must be a duration from 1h to 8760h, " +
					"such as 720h for 30 days: the largest unit is the hour\n",
			},
		},
		"a private key where a public one belongs": {
			manifest: a.manifest("APP", profile, "publicKeys: [{pem: \"-----BEGIN PRIVATE KEY-----\\nMC4CAQ\\n-----END PRIVATE KEY-----\"}]", "credentials: {type: PrivateKey}"),
			says:     []string{"\n  spec.publicKeys"},
		},
		"a version that is not served": {
			manifest: strings.ReplaceAll(a.manifest("APP", profile), "v1alpha1", "v1beta7"),
			says:     []string{"FILE: ConnectedApp NAMESPACE/APP: apiVersion: the cluster does not serve connectedapps.dev/v1beta7; use connectedapps.dev/v1alpha1"},
		},
		"a namespace that is not there": {
			manifest: strings.Replace(a.manifest("APP", profile), "{name: APP}", "{name: APP, namespace: nowhere}", 1),
			says:     []string{"FILE: ConnectedApp nowhere/APP: there is no namespace nowhere: create it first, or name another in the manifest or with -n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, app := range []string{"fresh", "there"} {
				file := filepath.Join(t.TempDir(), "app.yaml")
				require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(test.manifest, "APP", app)), 0o600))
				here := strings.NewReplacer("FILE", file, "NAMESPACE", a.Namespace, "APP", app)
				for _, o := range []DiffOptions{{}, {ServerSide: true, FieldManager: "gitops"}} {
					list, err := Resources(resource.FilenameOptions{Filenames: []string{file}}, nil)
					require.NoError(t, err)
					err = a.Diff(t.Context(), list, o)
					if o.ServerSide && test.serverSide == "-" && app == "there" {
						continue
					}
					require.Equal(t, DiffFailed, exitOf(t, err))
					said := err.Error()
					require.NotContains(t, said, "{\"")
					require.NotContains(t, said, "MC4CAQ")
					require.NotContains(t, said, "some validation rules were not checked")
					if o.ServerSide && test.serverSide != "" && test.serverSide != "-" {
						require.Contains(t, said, test.serverSide)
						continue
					}
					for _, says := range test.says {
						require.Contains(t, said, here.Replace(says))
					}
				}
			}
		})
	}
}

func TestDiffForPrograms(t *testing.T) {
	plane.StartManager(t)
	a := newTeam(t)
	a.Output = OutputJSON
	status, err := a.differs(t, DiffOptions{}, a.manifest("new", profile))
	require.NoError(t, err)
	require.Equal(t, DiffChanges, status)
	var d Difference
	require.NoError(t, json.Unmarshal(a.out.Bytes(), &d))
	require.Equal(t, "unknown", d.ConnectedApps[0].Verdict)
	require.Equal(t, "register the client", d.ConnectedApps[0].Actions[0].Action)
	a.Output = OutputName
	a.out.Reset()
	_, err = a.differs(t, DiffOptions{}, a.manifest("new", profile))
	require.NoError(t, err)
	require.Equal(t, "connectedapp.connectedapps.dev/new\n", a.out.String())
	a.Output, a.Color = OutputText, true
	a.out.Reset()
	_, err = a.differs(t, DiffOptions{}, a.manifest("new", profile))
	require.NoError(t, err)
	require.Contains(t, a.out.String(), "\x1b[32m+ clientName: "+a.Namespace+"/new\x1b[0m")
}

// Where the admission policy for access rules is in force, as it is by default, it
// tells an app team what it may not read.
func TestDiffAsksTheAdmissionPolicy(t *testing.T) {
	plane.StartManager(t)
	a := newTeam(t)
	accessPolicy(t, a.site, a.server.Name)
	a.shows(t, "diff-admission.txt", DiffOptions{}, a.manifest("new", profile), a.manifest("greedy", "scopes: [{scope: manage:orgconnapps}]"))

	a.made(t, "gitproxy", "Ready", "Ready")
	changed := a.manifest("gitproxy", "clientName: GitProxy", "scopes: [{scope: profile}, {scope: view:environment}]", "credentials: {type: Secret, secret: {name: proxy}}")
	a.shows(t, "diff-default.txt", DiffOptions{}, changed, a.manifest("new", profile))
	shown, err := os.ReadFile(filepath.Join("testdata", "diff-default.txt"))
	require.NoError(t, err)
	page, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "kubectl-plugin.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), "```console\n$ kubectl connectedapp diff -f deploy/ -n payments\n"+
		strings.NewReplacer("<client>", "f9c7…", "exit status 1\n", "").Replace(string(shown))+"```\n", "the page shows what the default installation prints")
}

// What was shown is what the manager does, and then nothing is left to do.
func TestWhatDiffShowsIsDone(t *testing.T) {
	plane.StartManager(t)
	a := newTeam(t)
	a.Client = plane.Client
	app := &v1alpha1.ConnectedApp{}
	app.Namespace, app.Name = a.Namespace, "gitproxy"
	t.Cleanup(func() { plane.Remove(app) })
	for i, name := range []string{"vault", "other"} {
		plane.Create(t, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: name, Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
			Data:       map[string][]byte{"client-secret": []byte(strings.Repeat(strconv.Itoa(i), 40))},
		})
	}
	const made, none = "a new client secret is made", "no client secret is made"
	for _, step := range []struct{ manifest, secret string }{
		{a.manifest("gitproxy", profile), made},
		{a.manifest("gitproxy", "clientName: GitProxy", "scopes: [{scope: view:environment}]", "credentials: {type: Secret, secret: {name: proxy, preset: env}}"), none},
		{a.manifest("gitproxy", "clientName: GitProxy", profile, "clientType: Confidential", "enabled: false"), none},
		{a.manifest("gitproxy", profile, "credentials: {type: ExistingSecret, secret: {name: vault}}"), "the client is given the secret of Secret vault"},
		{a.manifest("gitproxy", profile, "credentials: {type: ExistingSecret, secret: {name: other}}"), "the client is given the secret of Secret other"},
		{a.manifest("gitproxy", profile), made},
		{strings.Replace(a.manifest("gitproxy", "clientType: Public", `redirectURIs: ["https://example.com/"]`, profile), "client_credentials", "authorization_code", 1), none},
	} {
		manifest := step.manifest
		a.out.Reset()
		status, err := a.differs(t, DiffOptions{}, manifest)
		require.NoError(t, err)
		require.Equal(t, DiffChanges, status, a.out)
		require.Contains(t, a.out.String(), "  "+step.secret+"\n")
		plane.Kubectl(t).Run(t, manifest, "apply", "-n", a.Namespace, "-f", "-")
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
			ready := testenv.Condition(app.Status.Conditions, "Ready")
			c.Equal(app.Generation, ready.ObservedGeneration)
			c.Equal("True", string(ready.Status), "%+v", ready)
		})
		for _, live := range []bool{false, true} {
			a.out.Reset()
			status, err := a.differs(t, DiffOptions{Live: live}, manifest)
			require.NoError(t, err)
			require.Zero(t, status, a.out)
		}
	}
}

// On a server without our extensions a rotation is a reset.
func TestDiffOnAnOldServer(t *testing.T) {
	plane.StartManager(t)
	a := newTeam(t, tokenservertest.WithMiddleware(tokenservertest.Plain))
	a.Client = plane.Client
	plane.Kubectl(t).Run(t, a.manifest("gitproxy", profile), "apply", "-n", a.Namespace, "-f", "-")
	app := &v1alpha1.ConnectedApp{}
	app.Namespace, app.Name = a.Namespace, "gitproxy"
	t.Cleanup(func() { plane.Remove(app) })
	a.until(t, app, "Ready", "Ready")
	a.shows(t, "diff-old-server.txt", DiffOptions{Live: true},
		strings.Replace(a.manifest("gitproxy", "scopes: [{scope: view:environment}]"), "{name: gitproxy}", "{name: gitproxy, annotations: {connectedapps.dev/rotate-requested-at: now}}", 1),
		a.manifest("new", profile))
	a.says(t, "status-old-server.txt", func() error { return a.StatusOf(t.Context(), "gitproxy") })
}

func TestManifestsAreReadAsKubectlDoes(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	app := func(name string) string {
		return "apiVersion: connectedapps.dev/v1alpha1\nkind: ConnectedApp\nmetadata: {name: " + name + "}\n"
	}
	write("a.yaml", app("a"))
	write("b.yaml", "apiVersion: v1\nkind: List\nitems:\n- "+strings.ReplaceAll(app("b"), "\n", "\n  ")+"\n")
	write("c.txt", "nothing")
	names := func(o resource.FilenameOptions) (names []string) {
		list, err := Resources(o, strings.NewReader(app("stdin")))
		require.NoError(t, err)
		for _, u := range list {
			names = append(names, u.GetName())
		}
		return names
	}
	require.ElementsMatch(t, []string{"a", "b", "stdin"}, names(resource.FilenameOptions{Filenames: []string{folder, "-"}}))
	write("kustomization.yaml", "resources: [a.yaml]\nnamePrefix: prod-\n")
	require.Equal(t, []string{"prod-a"}, names(resource.FilenameOptions{Kustomize: folder}))
	_, err := Resources(resource.FilenameOptions{Filenames: []string{filepath.Join(folder, "none.yaml")}}, &bytes.Buffer{})
	require.ErrorContains(t, err, "reading manifests: ")
}

func renamed(name string) registrar.Fields { return registrar.Fields{ClientName: &name} }

// What a policy of the cluster refuses is no lack of rights, whatever its words.
func TestDiffFailsWhereAnotherPolicyRefusesTheApply(t *testing.T) {
	plane.StartManager(t)
	a := newTeam(t)
	name := "deny-" + a.Namespace
	plane.Create(t, &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: a.Namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{v1alpha1.GroupVersion.Group}, APIVersions: []string{"*"}, Resources: []string{"connectedapps"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "teams cannot have apps on Fridays", Reason: new(metav1.StatusReasonForbidden)}},
		},
	})
	plane.Create(t, &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	})
	t.Cleanup(func() {
		_ = plane.Client.Delete(context.Background(), &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}})
		_ = plane.Client.Delete(context.Background(), &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}})
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		status, err := a.differs(t, DiffOptions{}, a.manifest("friday", profile))
		c.ErrorContains(err, "teams cannot have apps on Fridays")
		c.Equal(DiffFailed, status)
	})
}
