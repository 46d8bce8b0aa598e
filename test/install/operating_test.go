// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

const operatingPage = "operating.md"

// yamlOf is the first manifest below a heading of a page that has a text.
func yamlOf(t *testing.T, page, heading, with string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), heading+"\n")
	require.True(t, found)
	for _, block := range strings.Split(section, "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```\n")
		if strings.Contains(block, with) {
			return block
		}
	}
	require.Fail(t, "no such manifest", "%s below %s", with, heading)
	return ""
}

// authority is what is trusted inside of the cluster.
func (b *bundled) authority() *x509.CertPool {
	b.Helper()
	object := &corev1.ConfigMap{}
	require.NoError(b, b.client.Get(b.Context(), client.ObjectKey{Namespace: b.system, Name: "tokenserver-ca"}, object))
	pool := x509.NewCertPool()
	require.True(b, pool.AppendCertsFromPEM([]byte(object.Data["ca.crt"])))
	return pool
}

func TestTheSettingsOfAHostNameAreRendered(t *testing.T) {
	const heading = "## A host name of your own"
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "connectedapps", "config"), os.DirFS(config(""))))
	settings := yamlOf(t, operatingPage, heading, "trustedProxies")
	for name, content := range map[string]string{
		"kustomization.yaml": yamlOf(t, operatingPage, heading, "# kustomization.yaml"),
		"ingress.yaml":       yamlOf(t, operatingPage, heading, "# ingress.yaml"),
		"config.yaml":        regexp.MustCompile(`(?m)^publicURL:.*\n`).ReplaceAllLiteralString(bundledConfig(t), settings),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	var ingress, configuration bool
	for document := range strings.SplitSeq(kubectl(t, "", "kustomize", dir), "\n---\n") {
		ingress = ingress || strings.Contains(document, "kind: Ingress") && strings.Contains(document, "namespace: "+systemNamespace)
		configuration = configuration || strings.Contains(document, "name: tokenserver-config\n") && strings.Contains(document, "trustedProxies: [10.0.0.0/8]")
	}
	require.True(t, ingress)
	require.True(t, configuration)
}

// TestTheServerUnderAHostNameOfItsOwn is reached through a proxy that ends TLS, and by
// its Service all the same.
func TestTheServerUnderAHostNameOfItsOwn(t *testing.T) {
	b := newBundled(t, "exposed")
	inside := b.public
	var toServer http.Handler
	proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { toServer.ServeHTTP(w, r) }))
	t.Cleanup(proxy.Close)
	b.public = strings.TrimPrefix(proxy.URL, "https://")

	b.startManager()
	configuration := bundledConfig(t)
	settings := strings.NewReplacer("https://id.example.com", "https://"+b.public, "10.0.0.0/8", "127.0.0.0/8").Replace(
		yamlOf(t, operatingPage, "## A host name of your own", "trustedProxies"))
	configuration = regexp.MustCompile(`(?m)^publicURL:.*\n`).ReplaceAllLiteralString(configuration, settings)
	b.startServer(configuration)

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = b.authority()
	toServer = &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "https", Host: inside})
		r.Out.Host = r.In.Host
		r.Out.Header.Set("X-Forwarded-For", "203.0.113.7")
	}}

	server := &v1alpha1.TokenServer{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(strings.NewReplacer("https://id.example.com", "https://"+b.public,
		"https://tokenserver.connectedapps-system.svc", "https://"+inside).Replace(
		yamlOf(t, operatingPage, "## A host name of your own", "internalURL"))), server))
	server.Name, server.Spec.Access = "exposed", b.sample("any").Spec.Access
	b.create(server)
	b.ready(server)
	app := b.register(server, "app")
	secret := b.secret(b.namespace, "app-credentials", exists)
	require.Equal(t, "https://"+b.public+"/accounts/api/v2/oauth2/token", string(secret.Data["token-url"]))
	require.Equal(t, "https://"+inside+"/accounts/api/v2/oauth2/token", string(secret.Data["internal-token-url"]))

	// People and clients outside come by the proxy.
	answer, err := proxy.Client().PostForm(string(secret.Data["token-url"]), url.Values{
		"grant_type": {"client_credentials"}, "client_id": {app.Status.ClientID}, "client_secret": {string(secret.Data["client-secret"])},
	})
	require.NoError(t, err)
	_ = answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	eventually(t, func(c *require.Assertions) {
		c.Contains(b.output.String(), "203.0.113.7", "the log has the client's address, not the proxy's")
	})

	for _, o := range []client.Object{app, server} {
		b.delete(o)
	}
}

// The manifests of the page are taken by the API server, as far as it knows their kinds.
func TestTheIngressOfThePageIsTaken(t *testing.T) {
	install(t)
	kubectl(t, yamlOf(t, operatingPage, "## A host name of your own", "kind: Ingress"), "apply", "--dry-run=server", "--validate=strict", "-n", systemNamespace, "-f", "-")
}

// inContainer runs a command of the server's container on this machine.
func (b *bundled) inContainer(commands string) string {
	return regexp.MustCompile(`kubectl exec (-i )?-n connectedapps-system deployment/tokenserver -- /tokenserver`).ReplaceAllLiteralString(commands, b.binary)
}

func TestAPersonIsAddedWhileTheServerRuns(t *testing.T) {
	b := newBundled(t, "people")
	b.startManager()
	b.startServer(bundledConfig(t))
	signIn := func() int {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig.RootCAs = b.authority()
		body, err := json.Marshal(map[string]string{"username": "sam", "password": "correct horse battery"})
		require.NoError(t, err)
		answer, err := (&http.Client{Transport: transport}).Post("https://"+b.public+"/accounts/login", "application/json", strings.NewReader(string(body)))
		require.NoError(t, err)
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	require.Equal(t, http.StatusUnauthorized, signIn())

	t.Cleanup(func() {
		_, _, _ = tryKubectl(t, "", "delete", "secret", "-n", systemNamespace, "tokenserver-users", "--ignore-not-found")
	})
	script := b.inContainer(scriptOf(t, operatingPage, "## People"))
	runScript(t, t.TempDir(), script, "read -rsp 'Password: ' PASSWORD", "PASSWORD='correct horse battery'")
	b.mount("users", "tokenserver-users", false) // as the kubelet does
	_, user, found := strings.Cut(yamlOf(t, operatingPage, "## People", "username: sam"), "users:\n")
	require.True(t, found)
	configuration := filepath.Join(b.data, "config.yaml")
	text, err := os.ReadFile(configuration)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(configuration, append(text, strings.ReplaceAll(user, "/etc/tokenserver", b.files)...), 0o600))
	eventually(t, func(c *require.Assertions) { c.Contains(b.output.String(), "configuration read again") })
	require.Equal(t, http.StatusOK, signIn())

	// A second person keeps the first.
	runScript(t, t.TempDir(), script, "read -rsp 'Password: ' PASSWORD", "PASSWORD='another horse battery'", `\"sam\"`, `\"pat\"`)
	require.Len(t, b.secret(systemNamespace, "tokenserver-users", exists).Data, 2)
}

// copied is what the page keeps of an installation, in a folder.
func (b *bundled) copied() (folder string) {
	b.Helper()
	folder = b.TempDir()
	runScript(b.T, folder, strings.ReplaceAll(b.inContainer(scriptOf(b.T, operatingPage, "## Back up")),
		"/etc/tokenserver/config/config.yaml", filepath.Join(b.data, "config.yaml")))
	return folder
}

// lose stops everything and takes away what is in the namespace and on the volume.
func (b *bundled) lose() {
	b.Helper()
	b.manager.stop(b.T)
	b.stopServer()
	kubectl(b.T, "", "delete", "secret,configmap", "-n", systemNamespace, "--all")
	b.data = b.TempDir()
}

func TestALostNamespaceComesBack(t *testing.T) {
	for name, withCopy := range map[string]bool{"with a copy of what was in it": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			b := newBundled(t, strings.ReplaceAll(name, " ", "-"))
			b.startManager()
			b.startServer(bundledConfig(t))
			server := b.sample(b.namespace)
			b.create(server)
			b.ready(server)
			app := b.register(server, "app")
			before := b.secret(b.namespace, "app-credentials", exists)
			folder := b.copied()
			b.lose()

			if withCopy {
				_, restore, found := strings.Cut(scriptOf(t, operatingPage, "### A lost namespace"), "\n") // the namespace is still there
				require.True(t, found)
				restore, _, found = strings.Cut(restore, "\n")
				require.True(t, found)
				runScript(t, folder, restore)
			}
			install(t)
			if withCopy {
				b.restoreByPod(filepath.Join(folder, "tokenserver.db"))
			}
			b.startManager()
			b.startServer(bundledConfig(t))
			if !withCopy {
				b.accept(server)
			}
			b.probed(server)
			b.ready(app)
			after := b.secret(b.namespace, "app-credentials", exists)
			require.Equal(t, before.Data["client-id"], after.Data["client-id"])
			require.Equal(t, before.Data["client-secret"], after.Data["client-secret"])
			eventually(t, func(c *require.Assertions) {
				transport := http.DefaultTransport.(*http.Transport).Clone()
				transport.TLSClientConfig.RootCAs = b.authority()
				answer, err := (&http.Client{Transport: transport}).PostForm(string(after.Data["token-url"]), url.Values{
					"grant_type": {"client_credentials"}, "client_id": {string(after.Data["client-id"])}, "client_secret": {string(after.Data["client-secret"])},
				})
				c.NoError(err)
				_ = answer.Body.Close()
				c.Equal(http.StatusOK, answer.StatusCode)
			})
			for _, o := range []client.Object{app, server} {
				b.delete(o)
			}
		})
	}
}

// accept answers the question of a TokenServer with the command of its message.
func (b *bundled) accept(server *v1alpha1.TokenServer) {
	b.Helper()
	var command string
	eventually(b.T, func(c *require.Assertions) {
		c.NoError(b.client.Get(b.Context(), client.ObjectKeyFromObject(server), server))
		c.False(status.IsReady(server))
		for _, condition := range server.Status.Conditions {
			if condition.Reason == string(v1alpha1.ReasonServerReplaced) {
				command = regexp.MustCompile(`kubectl annotate .*'`).FindString(condition.Message)
			}
		}
		c.NotEmpty(command, "%+v", server.Status.Conditions)
	})
	runScript(b.T, b.TempDir(), command)
}

// restoreByPod runs what the Pod of config/restore runs.
func (b *bundled) restoreByPod(backup string) string {
	b.Helper()
	pods := objectsIn[corev1.Pod](b.T, config("restore"), "Pod")
	require.Len(b, pods, 1)
	path, environment := b.pod(bundledConfig(b.T))
	args := strings.Split(strings.ReplaceAll(strings.Join(pods[0].Spec.Containers[0].Args, "\n"), "/etc/tokenserver/config/config.yaml", path), "\n")
	command := exec.CommandContext(b.Context(), b.binary, args...)
	command.Env = environment
	file, err := os.Open(backup)
	require.NoError(b, err)
	defer func() { _ = file.Close() }()
	command.Stdin = file
	said, err := command.CombinedOutput()
	require.NoError(b, err, string(said))
	return string(said)
}

// TestABackupIsRestoredByAPod that a restricted namespace admits, with the volumes and
// the identity of the token server's.
func TestABackupIsRestoredByAPod(t *testing.T) {
	install(t)
	kubectl(t, "", "apply", "--dry-run=server", "-k", config("restore"))
	pod := objectsIn[corev1.Pod](t, config("restore"), "Pod")[0]
	require.True(t, pod.Spec.Containers[0].Stdin && pod.Spec.Containers[0].StdinOnce)
	for _, d := range deploymentsOf(t, "tokenserver") {
		if d.Name != "tokenserver" {
			continue
		}
		require.Equal(t, d.Spec.Template.Spec.SecurityContext, pod.Spec.SecurityContext)
		require.Equal(t, d.Spec.Template.Spec.ServiceAccountName, pod.Spec.ServiceAccountName, "the configuration asks for it")
		require.Equal(t, d.Spec.Template.Spec.AutomountServiceAccountToken, pod.Spec.AutomountServiceAccountToken)
		require.Subset(t, d.Spec.Template.Spec.Volumes, pod.Spec.Volumes)
		require.Subset(t, d.Spec.Template.Spec.Containers[0].VolumeMounts, pod.Spec.Containers[0].VolumeMounts)
	}

	b := newBundled(t, "restored")
	b.startManager()
	b.startServer(bundledConfig(t))
	folder := b.copied()
	b.stopServer()
	said := b.restoreByPod(filepath.Join(folder, "tokenserver.db"))
	require.Contains(t, said, "the former database is in ")
	require.Contains(t, said, "holds the backup, examined")
	b.startServer(bundledConfig(t))
}
