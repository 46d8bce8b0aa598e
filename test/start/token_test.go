// SPDX-License-Identifier: Apache-2.0

package start

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/program"
)

const tokenFile = "/var/run/connectedapps/token/access-token"

// orders is an API that verifies the tokens it is sent.
type orders struct {
	*httptest.Server
	verifier *oidc.IDTokenVerifier

	mu sync.Mutex
	// sent are the last good tokens, by the path that was asked for.
	sent map[string]string
}

func (i *installation) startOrders() *orders {
	i.Helper()
	ctx := oidc.ClientContext(context.WithoutCancel(i.Context()), i.browser())
	provider, err := oidc.NewProvider(ctx, i.url+oauth.IssuerPath)
	require.NoError(i, err)
	o := &orders{verifier: provider.VerifierContext(ctx, &oidc.Config{ClientID: i.url + oauth.IssuerPath}), sent: map[string]string{}}
	o.Server = httptest.NewServer(o)
	i.Cleanup(o.Close)
	return o
}

func (o *orders) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, err := o.verifier.Verify(r.Context(), token); err != nil || !found {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent[strings.TrimPrefix(r.URL.Path, "/")] = token
}

func (o *orders) last(path string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent[path]
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// startSidecar runs the one of a Pod, whose token is there then.
func (p *running) startSidecar() {
	p.Helper()
	p.start("connectedapps-refresher", exec.Command(filepath.Join(programs, "refresher")), ":8090", "127.0.0.1:0")
	testenv.Eventually(p, func(c *require.Assertions) { c.FileExists(p.inPod(tokenFile)) })
}

func (i *installation) followAppToken() {
	i.Helper()
	api := i.startOrders()
	page := open(i.T, i.TempDir(), pat, "start/app-token.md", "https://api.example.com", api.URL)
	page.until("kubectl apply -f deployment.yaml")
	gitproxy := admit(i.T, podOf(i.T, "payments", "app=gitproxy"))
	gitproxy.startSidecar()
	markReady(i.T, "payments", "app=gitproxy")
	page.inPod = append(gitproxy.paths(), "kubectl exec -n payments deployment/gitproxy -c gitproxy -- ", "")
	page.until("rollout status")
	page.until("curl")
	require.Equal(i, read(i.T, gitproxy.inPod(tokenFile)), api.last("orders"))

	page.until("with-secret.yaml")
	page.finish()
	status, err := page.shell("-c", "kubectl connectedapp status -n payments").CombinedOutput()
	require.NoError(i, err, string(status))
	require.Regexp(i, `gitproxy +True`, string(status))
	withSecret := admit(i.T, podOf(i.T, "payments", "app=gitproxy", "token"))
	secret := &corev1.Secret{}
	require.NoError(i, getObject(i.T, "gitproxy-token", secret))
	require.Equal(i, string(secret.Data["access-token"]), read(i.T, withSecret.inPod(tokenFile)))
	require.NotContains(i, withSecret.pod.Labels, "connectedapps.dev/inject")

	i.runTokenPrograms(api, gitproxy)
}

func getObject(t *testing.T, name string, object client.Object) error {
	return api.Get(t.Context(), client.ObjectKey{Namespace: "payments", Name: name}, object)
}

// runTokenPrograms runs all of the page that the first one leads to.
func (i *installation) runTokenPrograms(api *orders, sidecar *running) {
	i.Helper()
	desk := i.TempDir()
	page := open(i.T, desk, pat, "start/token-programs.md")
	often := []string{"time.Minute", "200*time.Millisecond", "60_000", "200", "time.sleep(60)", "time.sleep(0.2)"}
	follow := func(file string, pod *running) string {
		page.inPod = append(append(often, "https://api.example.com/orders", api.URL+"/"+file), pod.paths()...)
		page.until(file + "\n")
		return filepath.Join(desk, file)
	}
	files := map[string]*exec.Cmd{}
	for _, file := range []string{"file.go", "file.mjs", "file.py", "File.java", "SpringFile.java"} {
		files[file] = i.programOf(follow(file, sidecar))
	}
	for _, command := range files {
		command.Env = []string{"PATH=" + os.Getenv("PATH")}
		program.StartCommand(i, command)
	}
	all := func(token string) {
		testenv.Eventually(i, func(c *require.Assertions) {
			for file := range files {
				c.Equal(token, api.last(file), file)
			}
		})
	}
	all(read(i.T, sidecar.inPod(tokenFile)))

	page.until("credentials.yaml")
	withClient := admit(i.T, podOf(i.T, "payments", "app=gitproxy", "client"))
	place(i.T, withClient.volumes["client"], "client-secret", []byte("of another day"))
	started := map[string]*program.Process{}
	for _, file := range []string{"secret.go", "secret.mjs", "secret.py"} {
		started[file] = withClient.start("gitproxy", i.programOf(follow(file, withClient)))
	}
	testenv.Eventually(i, func(c *require.Assertions) {
		for file, p := range started {
			c.Contains(p.Output(), "invalid_client", "%s does not say what is wrong", file)
		}
	})
	withClient.sync()
	testenv.Eventually(i, func(c *require.Assertions) {
		for file := range started {
			c.NotEmpty(api.last(file), "%s does not read the Secret again", file)
		}
	})
	i.checkSpring(page.take("yaml", "spring:"), "gitproxy")
	page.finish()

	// Another client secret: the sidecar gets another token at once.
	before := read(i.T, sidecar.inPod(tokenFile))
	rotate := page.shell("-c", "kubectl connectedapp rotate gitproxy -n payments")
	out, err := rotate.CombinedOutput()
	require.NoError(i, err, string(out))
	sidecar.sync()
	testenv.Eventually(i, func(c *require.Assertions) { c.NotEqual(before, read(i.T, sidecar.inPod(tokenFile))) })
	all(read(i.T, sidecar.inPod(tokenFile)))
}

// programOf is the command that runs a file of a page.
func (i *installation) programOf(path string) *exec.Cmd {
	i.Helper()
	switch filepath.Ext(path) {
	case ".go":
		build := exec.CommandContext(i.Context(), "go", "build", "-o", strings.TrimSuffix(path, ".go"), path)
		build.Dir = testenv.ModuleRoot()
		out, err := build.CombinedOutput()
		require.NoError(i, err, string(out))
		return exec.Command(strings.TrimSuffix(path, ".go"))
	case ".mjs":
		link := filepath.Join(filepath.Dir(path), "node_modules")
		if _, err := os.Lstat(link); err != nil {
			require.NoError(i, os.Symlink(nodeModules(i.T), link))
		}
		return exec.Command("node", path)
	case ".py":
		return exec.Command(debianPython, "-u", path)
	case ".java":
		if strings.HasPrefix(filepath.Base(path), "Spring") {
			return exec.Command("java", "--class-path", springFramework, path)
		}
		return exec.Command("java", path)
	}
	require.Fail(i, "nobody knows how to run "+path)
	return nil
}

// debianPython is the one that Debian's packages are for.
const debianPython = "/usr/bin/python3"

// springFramework is what Debian's libspring-web-java has, under names of old.
const springFramework = "/usr/share/java/spring3-web.jar:/usr/share/java/spring3-core.jar:/usr/share/java/spring3-beans.jar:" +
	"/usr/share/java/commons-logging.jar"

func nodeModules(t *testing.T) string {
	t.Helper()
	path := filepath.Join(testenv.ModuleRoot(), "bin", "clients", "node_modules")
	require.DirExists(t, path, "it is made by: make client-tools")
	return path
}

// checkSpring holds what can be held without Spring Security: the file is one, its values are
// keys of the Secret, and the token server answers what Spring asks.
func (i *installation) checkSpring(text, app string) {
	i.Helper()
	var file map[string]any
	require.NoError(i, yaml.UnmarshalStrict([]byte(text), &file))
	secret := &corev1.Secret{}
	require.NoError(i, getObject(i.T, app+"-credentials", secret))
	for _, value := range strings.Split(text, "${")[1:] {
		key, _, found := strings.Cut(value, "}")
		require.True(i, found)
		if key == "PUBLIC_URL" {
			continue // the Deployment's
		}
		require.Contains(i, secret.Data, key)
	}
	issuer := string(secret.Data["issuer-url"])
	response, err := i.browser().Get(issuer + "/.well-known/openid-configuration")
	require.NoError(i, err)
	defer func() { _ = response.Body.Close() }()
	var metadata struct {
		Issuer  string   `json:"issuer"`
		Token   string   `json:"token_endpoint"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
		Algs    []string `json:"id_token_signing_alg_values_supported"`
	}
	require.NoError(i, json.NewDecoder(response.Body).Decode(&metadata))
	require.Equal(i, issuer, metadata.Issuer)
	require.Contains(i, metadata.Methods, "client_secret_basic", "Spring's choice")
	require.Contains(i, metadata.Algs, "RS256", "Spring's choice")
	if !strings.Contains(text, "client_credentials") {
		return
	}
	body := strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode())
	request, err := http.NewRequestWithContext(i.Context(), http.MethodPost, metadata.Token, body)
	require.NoError(i, err)
	request.Header.Set("Accept", "application/json;charset=UTF-8")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	request.SetBasicAuth(url.QueryEscape(string(secret.Data["client-id"])), url.QueryEscape(string(secret.Data["client-secret"])))
	answer, err := i.browser().Do(request)
	require.NoError(i, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(i, http.StatusOK, answer.StatusCode, "as Spring asks")
}
