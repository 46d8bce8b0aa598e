// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
)

// bundled is what config/default installs: a manager and a token server, with the
// arguments, the files and the rights of their Pods.
type bundled struct {
	*life
	cluster *cluster
	manager *manager
	// system is the namespace that it is in.
	system string
	binary string
	// files is /etc/tokenserver, data is /var/lib/tokenserver.
	files, data        string
	public, operations string
	// listen is where the next server does; public leads to the first.
	listen string
	// kustomization is the folder where its Pod is described.
	kustomization string
	server        *exec.Cmd
	output        output
}

func newBundled(t *testing.T, namespace string) *bundled {
	t.Helper()
	install(t)
	return newBundledIn(t, namespace, config("default"), systemNamespace)
}

// newBundledIn is newBundled for a kustomization that was applied.
func newBundledIn(t *testing.T, namespace, kustomization, system string) *bundled {
	t.Helper()
	kubectl(t, "", "create", "namespace", namespace)
	kubectl(t, "", "label", "namespace", namespace, "team=payments")
	b := &bundled{
		life: newLife(t, namespace), cluster: newClusterIn(t, kustomization, system), files: t.TempDir(), data: t.TempDir(),
		listen: testenv.FreeAddress(t), operations: testenv.FreeAddress(t), kustomization: kustomization, system: system,
	}
	b.public = strings.Replace(b.listen, "127.0.0.1", "localhost", 1)
	b.binary = filepath.Join(t.TempDir(), "tokenserver")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", b.binary, "./cmd/tokenserver")
	build.Dir = root
	printed, err := build.CombinedOutput()
	require.NoError(t, err, string(printed))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.output.String())
		}
	})
	return b
}

// startManager starts a manager as the ServiceAccount that there is now.
func (b *bundled) startManager() {
	b.Helper()
	b.cluster.token = tokenIn(b.T, b.system, "connectedapps-manager")
	b.manager = b.cluster.start(b.T)
}

// mount puts a Secret where the token server's Pod has it. One that is optional
// may be absent.
func (b *bundled) mount(folder, secret string, optional bool) {
	b.Helper()
	at := filepath.Join(b.files, folder)
	require.NoError(b, os.RemoveAll(at))
	require.NoError(b, os.Mkdir(at, 0o700))
	s := &corev1.Secret{}
	err := b.client.Get(b.Context(), client.ObjectKey{Namespace: b.system, Name: secret}, s)
	if optional && client.IgnoreNotFound(err) == nil && err != nil {
		return
	}
	require.NoError(b, err)
	for key, value := range s.Data {
		require.NoError(b, os.WriteFile(filepath.Join(at, key), value, 0o600))
	}
}

// pod writes a configuration and what is mounted beside it, as the Pod of the token
// server has them, with the volumes of its Deployment.
func (b *bundled) pod(configuration string) (path string, environment []string) {
	b.Helper()
	b.secret(b.system, "tokenserver-keys", exists)
	b.secret(b.system, "tokenserver-tls", exists)
	var spec corev1.PodSpec
	for _, d := range deploymentsIn(b.T, b.kustomization) {
		if d.Name == "tokenserver" {
			spec = d.Spec.Template.Spec
		}
	}
	for _, v := range spec.Volumes {
		if v.Secret != nil {
			b.mount(v.Name, v.Secret.SecretName, v.Secret.Optional != nil && *v.Secret.Optional)
		}
	}
	require.True(b, *spec.AutomountServiceAccountToken)
	account := filepath.Join(b.files, "serviceaccount")
	require.NoError(b, os.MkdirAll(account, 0o700))
	require.NoError(b, os.WriteFile(filepath.Join(account, "token"), []byte(tokenIn(b.T, b.system, spec.ServiceAccountName)), 0o600))
	require.NoError(b, os.WriteFile(filepath.Join(account, "ca.crt"), admin.CAData, 0o600))
	api, _, err := rest.DefaultServerUrlFor(admin)
	require.NoError(b, err)

	environment = os.Environ()
	for _, e := range spec.Containers[0].Env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			require.Equal(b, "metadata.namespace", e.ValueFrom.FieldRef.FieldPath)
			environment = append(environment, e.Name+"="+b.system)
		}
	}
	set := func(field, value string) {
		configuration = regexp.MustCompile(`(?m)^`+field+`:.*$`).ReplaceAllLiteralString(configuration, field+": "+value)
	}
	if b.system == systemNamespace {
		set("publicURL", "https://"+b.public)
	}
	set("listen", b.listen)
	set("operationsListen", b.operations)
	configuration = strings.NewReplacer("/etc/tokenserver", b.files, "/var/lib/tokenserver", b.data, "discovery: {}",
		fmt.Sprintf("discovery: {url: %q, caFile: %s/ca.crt, tokenFile: %s/token}", strings.TrimSuffix(api.String(), "/"), account, account),
	).Replace(configuration)
	path = filepath.Join(b.data, "config.yaml")
	require.NoError(b, os.WriteFile(path, []byte(configuration), 0o600))
	return path, environment
}

// startServer starts a token server with a configuration, as its Pod does.
func (b *bundled) startServer(configuration string) {
	b.Helper()
	path, environment := b.pod(configuration)
	b.server = exec.CommandContext(b.Context(), b.binary, "serve", "--config="+path, "--wait=2m")
	b.server.Env = environment
	b.server.Stdout, b.server.Stderr = &b.output, &b.output
	require.NoError(b, b.server.Start())
	server := b.server
	b.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	eventually(b.T, func(c *require.Assertions) {
		response, err := http.Get("http://" + b.operations + "/readyz")
		c.NoError(err, b.output.String())
		_ = response.Body.Close()
		c.Equal(http.StatusOK, response.StatusCode)
	})
}

func (b *bundled) stopServer() {
	b.Helper()
	require.NoError(b, b.server.Process.Signal(syscall.SIGTERM))
	require.NoError(b, b.server.Wait())
}

// bundledConfig is config/tokenserver/config.yaml.
func bundledConfig(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(config("tokenserver"), "config.yaml"))
	require.NoError(t, err)
	return string(text)
}

// sample is the TokenServer of config/samples, at the address of this server.
func (b *bundled) sample(name string) *v1alpha1.TokenServer {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(config("samples"), "connectedapps_v1alpha1_tokenserver.yaml"))
	require.NoError(b, err)
	server := &v1alpha1.TokenServer{}
	require.NoError(b, yaml.UnmarshalStrict(text, server))
	server.Name, server.Spec.URL = name, "https://"+b.public
	return server
}

func (b *bundled) register(server *v1alpha1.TokenServer, name string) *v1alpha1.ConnectedApp {
	b.Helper()
	app := &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name},
		Spec: v1alpha1.ConnectedAppSpec{
			TokenServerRef: &v1alpha1.TokenServerReference{Name: server.Name}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
		},
	}
	b.create(app)
	b.ready(app)
	return app
}

// page runs the commands of docs/installation.md that manage apps by hand.
func (b *bundled) page() string {
	b.Helper()
	return runScript(b.T, b.TempDir(), scriptOf(b.T, "installation.md", "## Managing apps by hand"),
		"https://tokenserver.connectedapps-system.svc", "https://"+b.public)
}

// scriptOf is the first block of commands below a heading of docs.
func scriptOf(t *testing.T, page, heading string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), heading+"\n")
	require.True(t, found)
	_, script, found := strings.Cut(section, "```sh\n")
	require.True(t, found)
	script, _, found = strings.Cut(script, "```")
	require.True(t, found)
	return script
}

// runScript runs commands of docs in a folder, with variables replaced, and returns
// what they print.
func runScript(t *testing.T, folder, script string, variables ...string) string {
	t.Helper()
	programs := t.TempDir()
	require.NoError(t, os.Symlink(absolute(t, kubectlPath), filepath.Join(programs, "kubectl")))
	command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.NewReplacer(variables...).Replace(script))
	command.Dir = folder
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+programs+":"+os.Getenv("PATH"))
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	require.NoError(t, err, "%s%s", out, complaints.String())
	return string(out)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	return path
}

// probed waits until the manager has logged in anew and found the server well.
func (b *bundled) probed(server *v1alpha1.TokenServer) {
	b.Helper()
	b.edit(server, func() { server.Spec.RequestsPerSecond = new(int32(100 + server.Generation)) })
	eventually(b.T, func(c *require.Assertions) {
		c.NoError(b.client.Get(b.Context(), client.ObjectKeyFromObject(server), server))
		c.True(status.IsReady(server), "%+v", server.Status.Conditions)
		c.Equal(server.Generation, server.Status.ObservedGeneration)
	})
}

// TestTheBundledInstallHasNoSecretOfTheManager from the first start on, whoever
// starts first, and when the manager's ServiceAccount is another.
func TestTheBundledInstallHasNoSecretOfTheManager(t *testing.T) {
	b := newBundled(t, "secretless")
	server := b.sample("bundled")
	b.create(server)
	b.startManager()
	eventually(t, func(c *require.Assertions) { // the token server is not there yet
		c.NoError(b.client.Get(t.Context(), client.ObjectKeyFromObject(server), server))
		c.NotEmpty(server.Status.Conditions)
		c.False(status.IsReady(server))
	})
	b.startServer(bundledConfig(t))
	b.ready(server)
	app := b.register(server, "app")

	var secrets corev1.SecretList
	require.NoError(t, b.client.List(t.Context(), &secrets, client.InNamespace(systemNamespace)))
	for _, s := range secrets.Items {
		require.NotContains(t, s.Data, "client-secret", s.Name)
	}
	require.Contains(t, b.page(), app.Status.ClientID, "a person sees the app")

	// The token server is there first, and the ServiceAccount has another uid.
	b.manager.stop(t)
	accounts := func() types.UID {
		account := &corev1.ServiceAccount{}
		require.NoError(t, b.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "connectedapps-manager"}, account))
		return account.UID
	}
	before := accounts()
	kubectl(t, "", "delete", "serviceaccount", "-n", systemNamespace, "connectedapps-manager")
	install(t)
	require.NotEqual(t, before, accounts())
	b.startManager()
	b.probed(server)

	// An app of Pods without a secret: the server knows this cluster by the name that
	// the sample gives.
	pods := &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "pods"}}
	pods.Spec = v1alpha1.ConnectedAppSpec{
		TokenServerRef: &v1alpha1.TokenServerReference{Name: server.Name}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
		Credentials: &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount, ServiceAccounts: []v1alpha1.ServiceAccountReference{{Name: "reports"}}},
	}
	b.create(pods)
	b.ready(pods)
	for _, o := range []client.Object{pods, app, server} {
		b.delete(o)
	}
}

// earlier is what config/tokenserver/config.yaml had where it now has a
// ServiceAccount.
const earlier = `bootstrap:
  adminClient:
    clientID: connectedapps-manager
    clientSecretFile: /etc/tokenserver/admin/client-secret
organizations:`

// TestAnInstallationWithASecretGoesOnAndMoves to the ServiceAccount, with the same
// clients.
func TestAnInstallationWithASecretGoesOnAndMoves(t *testing.T) {
	b := newBundled(t, "upgraded")
	kubectl(t, "", "create", "secret", "generic", "tokenserver-admin", "-n", systemNamespace,
		"--from-literal=client-id=connectedapps-manager", "--from-literal=client-secret="+strings.Repeat("s", 43))
	kubectl(t, "", "label", "secret", "tokenserver-admin", "-n", systemNamespace, "connectedapps.dev/secret=managed")
	t.Cleanup(func() {
		_, _, _ = tryKubectl(t, "", "delete", "secret", "tokenserver-admin", "-n", systemNamespace, "--ignore-not-found")
	})
	b.startManager()
	now := bundledConfig(t)
	head, rest, found := strings.Cut(now, "workloadIssuers:")
	require.True(t, found)
	_, tail, found := strings.Cut(rest, "organizations:")
	require.True(t, found)
	b.startServer(head + earlier + tail)
	server := b.sample("upgraded")
	server.Spec.WorkloadIssuer = ""
	server.Spec.Credentials = v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: "tokenserver-admin"}}
	b.create(server)
	b.ready(server)
	app := b.register(server, "app")
	client1, secret := app.Status.ClientID, string(b.secret(b.namespace, "app-credentials", exists).Data["client-secret"])
	same := func() {
		t.Helper()
		b.edit(app, func() { metav1.SetMetaDataAnnotation(&app.ObjectMeta, "touched", time.Now().String()) })
		b.ready(app)
		require.Equal(t, client1, app.Status.ClientID)
		require.Equal(t, secret, string(b.secret(b.namespace, "app-credentials", exists).Data["client-secret"]))
	}

	// The new manifests are applied.
	b.stopServer()
	b.startServer(now)
	b.probed(server)
	require.Equal(t, v1alpha1.TokenServerCredentialsSecret, server.Spec.Credentials.Type, "nobody but people writes TokenServers")
	same()

	// The move, as docs/installation.md has it.
	b.edit(server, func() { server.Spec.Credentials = b.sample("").Spec.Credentials })
	b.probed(server)
	kubectl(t, "", "delete", "secret", "tokenserver-admin", "-n", systemNamespace)
	b.mount("admin", "tokenserver-admin", true) // as the kubelet does
	eventually(t, func(c *require.Assertions) {
		c.Equal(http.StatusUnauthorized, b.login(strings.Repeat("s", 43)), "the old secret ends")
	})
	b.probed(server)
	same()
	b.register(server, "another")
	require.Empty(t, kubectl(t, "", "get", "secret", "-n", systemNamespace, "tokenserver-admin", "--ignore-not-found"), "the manager makes it no more")
	for _, name := range []string{"another", "app"} {
		b.delete(&v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name}})
	}
	b.delete(server)
}

// login is what the token endpoint answers to the manager's client with a secret.
func (b *bundled) login(secret string) int {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "curl", "-sS", "-o", os.DevNull, "-w", "%{http_code}", "--cacert", filepath.Join(b.files, "tls", "ca.crt"),
		"https://"+b.public+"/accounts/api/v2/oauth2/token", "-d", "grant_type=client_credentials", "-d", "client_id=connectedapps-manager",
		"-d", "client_secret="+secret).Output()
	require.NoError(b, err)
	var code int
	_, err = fmt.Sscan(string(out), &code)
	require.NoError(b, err)
	return code
}
