// SPDX-License-Identifier: Apache-2.0

package start

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/program"
)

const systemNamespace = "connectedapps-system"

// installation runs what the Pods of the system namespace would, as processes.
type installation struct {
	*testing.T
	// url is the token server's.
	url, listen string
	folder      string
	server      *program.Process
	// headings are of the pages that the first person who signed in was shown.
	headings []string
}

// here replaces the addresses of the pages by those of this machine.
func (i *installation) here() []string {
	return []string{"https://id.example.com", i.url, "https://tokenserver.connectedapps-system.svc", i.url}
}

// startManager starts the manager with the arguments of its Pod, as its ServiceAccount.
func (i *installation) startManager() {
	i.Helper()
	spec := podOf(i.T, systemNamespace, "app.kubernetes.io/component=manager").Spec
	kubeconfig := filepath.Join(i.folder, "manager")
	script := `kubectl config view --raw >"$1"
		kubectl config --kubeconfig="$1" set-credentials manager --token="$(kubectl create token -n connectedapps-system connectedapps-manager)"
		kubectl config --kubeconfig="$1" set-context --current --user=manager`
	i.kubectl(script, kubeconfig)
	args := []string{"--kubeconfig=" + kubeconfig}
	for _, arg := range spec.Containers[0].Args {
		args = append(args, strings.ReplaceAll(arg, "$(POD_NAMESPACE)", systemNamespace))
	}
	args = append(args, "--health-probe-bind-address=0", "--metrics-bind-address=0")
	program.Start(i, filepath.Join(programs, "manager"), args...)
}

// kubectl runs a script as the administrator, with arguments.
func (i *installation) kubectl(script string, arguments ...string) string {
	i.Helper()
	r := reader{T: i.T, folder: i.folder, kubeconfig: admin}
	out, err := r.shell(append([]string{"-euo", "pipefail", "-c", script, "bash"}, arguments...)...).CombinedOutput()
	require.NoError(i, err, string(out))
	return string(out)
}

// startServer starts the token server with the configuration and the files of its Pod.
func (i *installation) startServer() {
	i.Helper()
	files := filepath.Join(i.folder, "tokenserver")
	for _, secret := range []string{"keys", "tls"} {
		mountSecret(i.T, systemNamespace, "tokenserver-"+secret, filepath.Join(files, secret))
	}
	account := filepath.Join(files, "account")
	require.NoError(i, os.MkdirAll(account, 0o700))
	token := strings.TrimSpace(i.kubectl("kubectl create token -n connectedapps-system tokenserver"))
	require.NoError(i, os.WriteFile(filepath.Join(account, "token"), []byte(token), 0o600))
	require.NoError(i, os.WriteFile(filepath.Join(account, "ca.crt"), adminAt.CAData, 0o600))
	address, _, err := rest.DefaultServerUrlFor(adminAt)
	require.NoError(i, err)

	configMap := &corev1.ConfigMap{}
	require.NoError(i, api.Get(i.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "tokenserver-config"}, configMap))
	require.Contains(i, configMap.Data["config.yaml"], "\npublicURL: "+i.url+"\n")
	operations := testenv.FreeAddress(i)
	configuration := strings.NewReplacer(
		`listen: ":8443"`, fmt.Sprintf("listen: %q", i.listen), `operationsListen: ":8081"`, fmt.Sprintf("operationsListen: %q", operations),
		"/etc/tokenserver", files, "/var/lib/tokenserver", i.folder,
		"discovery: {}", fmt.Sprintf("discovery: {url: %q, caFile: %s/ca.crt, tokenFile: %s/token}", strings.TrimSuffix(address.String(), "/"), account, account),
	).Replace(configMap.Data["config.yaml"])
	path := filepath.Join(i.folder, "config.yaml")
	require.NoError(i, os.WriteFile(path, []byte(configuration), 0o600))
	command := exec.Command(filepath.Join(programs, "tokenserver"), "serve", "--config="+path)
	command.Env = append(os.Environ(), "POD_NAMESPACE="+systemNamespace)
	i.server = program.StartCommand(i, command)
	testenv.Eventually(i, func(c *require.Assertions) {
		response, err := http.Get("http://" + operations + "/readyz")
		c.NoError(err)
		_ = response.Body.Close()
		c.Equal(http.StatusOK, response.StatusCode)
	})
}

// browser trusts the token server, and what else it is told to.
func (i *installation) browser(more ...*x509.Certificate) *http.Client {
	i.Helper()
	object := &corev1.ConfigMap{}
	require.NoError(i, api.Get(i.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "tokenserver-ca"}, object))
	trusted := x509.NewCertPool()
	require.True(i, trusted.AppendCertsFromPEM([]byte(object.Data["ca.crt"])))
	for _, certificate := range more {
		trusted.AddCert(certificate)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	i.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestTheFirstHour follows the pages one after the other: what the platform team has
// installed is what its teams use.
func TestTheFirstHour(t *testing.T) {
	i := &installation{T: t, listen: testenv.FreeAddress(t), folder: t.TempDir()}
	i.url = "https://" + strings.Replace(i.listen, "127.0.0.1", "localhost", 1)
	i.followPlatform()
	i.followAppToken()
	i.followWebSignIn()
}

func (i *installation) followPlatform() {
	i.Helper()
	desk := i.TempDir()
	require.NoError(i, os.Symlink(testenv.ModuleRoot(), filepath.Join(desk, "connectedapps")))
	page := open(i.T, desk, admin, "start/platform.md", append(i.here(),
		"make -C", "make -n -C", // it is all there; nothing is built and sent
		`"*.payments.example.com"`, `"127.0.0.1"`)...)
	page.until("kubectl apply --server-side -k ours")
	i.startManager()
	i.startServer()
	for _, component := range []string{"manager", "tokenserver"} {
		markReady(i.T, systemNamespace, "app.kubernetes.io/component="+component)
	}
	page.until("kubectl wait --for=condition=Available")
	page.until("tokenserver-keys.yaml")
	require.FileExists(i, filepath.Join(desk, "tokenserver-keys.yaml"))
	page.until("tokenserver.yaml")
	page.until("greedy.yaml\nError")
	page.finish()
}
