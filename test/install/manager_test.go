// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"connectedapps.dev/operator/internal/testenv"
)

// manager is a running manager, as the Deployment starts it.
type manager struct {
	command *exec.Cmd
	metrics string
	output  output
	ended   chan error
}

// output is what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// cluster is how managers of a test reach the API server.
type cluster struct {
	binary, address, token string
	args                   []string
}

// newCluster builds the manager, and takes its arguments from the Deployment of
// a kustomization.
func newCluster(t *testing.T, kustomization string) *cluster {
	t.Helper()
	return newClusterIn(t, kustomization, systemNamespace)
}

// newClusterIn is newCluster for a kustomization of another namespace.
func newClusterIn(t *testing.T, kustomization, system string) *cluster {
	t.Helper()
	c := &cluster{binary: filepath.Join(t.TempDir(), "manager")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.binary, "./cmd/manager")
	build.Dir = root
	printed, err := build.CombinedOutput()
	require.NoError(t, err, string(printed))
	c.token = tokenIn(t, system, "connectedapps-manager")
	c.address = lateProxy(t)
	c.args = argumentsIn(t, kustomization, "connectedapps/manager", "$(POD_NAMESPACE)", system)
	return c
}

func tokenOf(t *testing.T, serviceAccount string) string {
	t.Helper()
	return tokenIn(t, systemNamespace, serviceAccount)
}

func tokenIn(t *testing.T, namespace, serviceAccount string) string {
	t.Helper()
	return strings.TrimSpace(kubectl(t, "", "create", "token", "-n", namespace, serviceAccount))
}

// late is how long after they happened the manager learns of changes of our
// kinds, as from a busy API server: what it wrote itself is then not yet in its
// cache.
const late = 400 * time.Millisecond

// lateProxy stands between the managers and the API server, which still decides
// who may do what. Without TLS no credentials would be sent.
func lateProxy(t *testing.T) string {
	t.Helper()
	anonymous := rest.AnonymousClientConfig(admin)
	transport, err := rest.TransportFor(anonymous)
	require.NoError(t, err)
	target, err := url.Parse(admin.Host)
	require.NoError(t, err)
	proxy := httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport,
		FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		ModifyResponse: func(r *http.Response) error {
			if strings.HasPrefix(r.Request.URL.Path, "/apis/connectedapps.dev/") && r.Request.URL.Query().Get("watch") != "" {
				r.Body = lateBody{ReadCloser: r.Body, done: r.Request.Context().Done()}
			}
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

type lateBody struct {
	io.ReadCloser
	done <-chan struct{}
}

func (b lateBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	select {
	case <-b.done:
	case <-time.After(late):
	}
	return n, err
}

// withLists makes a manager list before it watches, as it has to in clusters
// whose watches do not begin with what there is (Kubernetes < 1.34).
const withLists = "KUBE_FEATURE_WatchListClient=false"

// start starts a manager with short intervals and some more environment.
func (c *cluster) start(t *testing.T, environment ...string) *manager {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	kubectl(t, "", "config", "--kubeconfig="+config, "set-cluster", "it", "--server="+c.address, "--insecure-skip-tls-verify")
	kubectl(t, "", "config", "--kubeconfig="+config, "set-credentials", "manager", "--token="+c.token)
	kubectl(t, "", "config", "--kubeconfig="+config, "set-context", "it", "--cluster=it", "--user=manager")
	kubectl(t, "", "config", "--kubeconfig="+config, "use-context", "it")

	m := &manager{metrics: testenv.FreeAddress(t), ended: make(chan error, 1)}
	args := append([]string{"--kubeconfig=" + config}, c.args...)
	args = append(args, "--health-probe-bind-address=0", "--metrics-bind-address="+m.metrics,
		"--resync-interval=1s", "--probe-interval=1s", "--minimum-token-lifetime=1s")
	m.command = exec.CommandContext(t.Context(), c.binary, args...)
	m.command.Env = append(os.Environ(), environment...)
	m.command.Stdout, m.command.Stderr = &m.output, &m.output
	require.NoError(t, m.command.Start())
	go func() { m.ended <- m.command.Wait() }()
	t.Cleanup(func() {
		m.stop(t)
		if t.Failed() {
			t.Log(m.output.String())
		}
	})
	return m
}

// stop ends the manager as the kubelet does.
func (m *manager) stop(t *testing.T) {
	t.Helper()
	_ = m.command.Process.Signal(syscall.SIGTERM)
	_ = m.wait(t)
}

func (m *manager) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-m.ended:
		m.ended <- err
		return err
	case <-time.After(time.Minute):
		require.FailNow(t, "the manager does not end", m.output.String())
		return nil
	}
}

// scrape returns the metrics, which the given ServiceAccount asks for; nothing
// before they are served.
func (m *manager) scrape(t *testing.T, token string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+m.metrics+"/metrics", http.NoBody)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(body))
	return string(body)
}
