// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/testenv/program"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

const (
	adminID     = "connectedapps-manager"
	adminSecret = "cas_ofTheManagerInThisTest"
	// life of tokens: long enough to be read, short enough to be replaced.
	life = "15s"
)

// tokenServer is a process of it.
type tokenServer struct{ url, operations string }

// certificate of this machine, and a client that trusts it.
type certificate struct {
	cert, key []byte
	client    *http.Client
}

func newCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(90 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	c := certificate{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(c.cert))
	c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// write files into a folder of their own.
func write(t *testing.T, files map[string]string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	return folder
}

// startTokenServer starts one with a database, as its configuration has it; with a
// certificate it speaks TLS.
func startTokenServer(t *testing.T, storage string, c *certificate) tokenServer {
	t.Helper()
	hash, err := user.HashPassword("correct horse battery staple")
	require.NoError(t, err)
	files := map[string]string{
		"encryption-key": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)), "client-secret": adminSecret,
		"database-password": postgresql.Password, "owner.hash": hash,
	}
	listen, scheme, tlsLines := testenv.FreeAddress(t), "http", ""
	if c != nil {
		files["tls.crt"], files["tls.key"] = string(c.cert), string(c.key)
		scheme, tlsLines = "https", "tlsCertFile: tls.crt\ntlsKeyFile: tls.key\n"
	}
	s := tokenServer{url: scheme + "://" + listen, operations: testenv.FreeAddress(t)}
	files["tokenserver.yaml"] = `publicURL: ` + s.url + `
listen: ` + listen + `
operationsListen: ` + s.operations + `
storage: ` + storage + `
accessTokenLifetime: ` + life + `
encryptionKeyFiles: [encryption-key]
bootstrap: {adminClient: {clientID: ` + adminID + `, clientSecretFile: client-secret}}
organizations:
- {id: 11111111-1111-4111-8111-111111111111, name: Main, ownerID: 44444444-4444-4444-8444-444444444444}
users:
- {id: 44444444-4444-4444-8444-444444444444, organizationID: 11111111-1111-4111-8111-111111111111, username: owner, passwordHashFile: owner.hash}
` + tlsLines
	folder := write(t, files)
	program.Start(t, filepath.Join(binaries, "tokenserver"), "serve", "--config="+filepath.Join(folder, "tokenserver.yaml"))
	s.awaitReady(t)
	return s
}

func (s tokenServer) awaitReady(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, func(r *require.Assertions) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.operations+"/readyz", http.NoBody)
		r.NoError(err)
		response, err := http.DefaultClient.Do(request)
		r.NoError(err)
		defer func() { _ = response.Body.Close() }()
		r.Equal(http.StatusOK, response.StatusCode)
	})
}

// startDatabase starts a PostgreSQL server with an empty database, and returns it as
// a configuration has it.
func startDatabase(t *testing.T) (server *postgresql.Server, name, storage string) {
	t.Helper()
	server = postgresql.Shared(t)
	name, _ = server.Database(t, "")
	return server, name, `{postgresql: {url: "postgresql://` + postgresql.User + `@127.0.0.1:` + strconv.Itoa(server.Port) + `/` + name +
		`?sslmode=disable", passwordFile: database-password}}`
}

// startManager starts one and returns the address of its metrics.
func startManager(t *testing.T, kubeconfig []byte) (metrics string) {
	t.Helper()
	folder := write(t, map[string]string{"kubeconfig": string(kubeconfig)})
	metrics = testenv.FreeAddress(t)
	program.Start(t, filepath.Join(binaries, "manager"), "--kubeconfig="+filepath.Join(folder, "kubeconfig"), "--namespace="+testenv.SystemNamespace,
		"--health-probe-bind-address=0", "--metrics-bind-address="+metrics,
		"--probe-interval=1s", "--resync-interval=5s", "--minimum-token-lifetime=1s", "--manage-tls=false")
	return metrics
}

// startRefresher starts one with the credentials of a Secret, which change may
// spoil, and returns the address of its metrics.
func startRefresher(t *testing.T, secret *corev1.Secret, change map[string]string) (metrics string) {
	t.Helper()
	files := map[string]string{}
	for name, value := range secret.Data {
		files[name] = string(value)
	}
	for name, value := range change {
		files[name] = value
	}
	metrics = testenv.FreeAddress(t)
	program.Start(t, filepath.Join(binaries, "refresher"), "--credentials-dir="+write(t, files), "--output-dir="+t.TempDir(), "--health-listen="+metrics)
	return metrics
}

// secret that the manager has published.
func secret(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	found := &corev1.Secret{}
	testenv.Eventually(t, func(r *require.Assertions) {
		r.NoError(plane.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, found))
	})
	return found
}

// tokenServerObject is a TokenServer and its credentials.
func tokenServerObject(name, url, password string, lines ...string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {namespace: %[1]s, name: %[2]s}
stringData: {client-id: %[3]s, client-secret: %[4]s}
---
apiVersion: connectedapps.dev/v1alpha1
kind: TokenServer
metadata: {name: %[2]s}
spec:
  url: %[5]s
  credentials: {type: Secret, secretRef: {name: %[2]s}}
  access: [{name: all, namespaceSelector: {}, grantTypes: [client_credentials], scopes: [{scope: "*"}]}]
  %[6]s
---`, testenv.SystemNamespace, name, adminID, password, url, strings.Join(lines, "\n  "))
}

// appObject is a ConnectedApp.
func appObject(name, server string, lines ...string) string {
	return fmt.Sprintf(`
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {namespace: payments, name: %s}
spec:
  tokenServerRef: {name: %s}
  grantTypes: [client_credentials]
  scopes: [{scope: "view:environment"}]
  %s
---`, name, server, strings.Join(lines, "\n  "))
}

func accessTokenObject(name string) string {
	return fmt.Sprintf(`
apiVersion: connectedapps.dev/v1alpha1
kind: AccessToken
metadata: {namespace: payments, name: %[1]s}
spec: {connectedAppRef: {name: %[1]s}}
---`, name)
}

// createPod makes a Pod that has an address, as one that runs.
func createPod(t *testing.T, pod *corev1.Pod, container, port, address string) {
	t.Helper()
	_, number, err := net.SplitHostPort(address)
	require.NoError(t, err)
	containerPort, err := strconv.ParseInt(number, 10, 32)
	require.NoError(t, err)
	of := corev1.Container{Name: container, Image: "image", Ports: []corev1.ContainerPort{{Name: port, ContainerPort: int32(containerPort)}}}
	if container == "connectedapps-refresher" { // a sidecar
		of.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		pod.Spec.InitContainers = []corev1.Container{of}
		of = corev1.Container{Name: "app", Image: "image"}
	}
	pod.Spec.Containers = []corev1.Container{of}
	plane.Create(t, pod)
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, "127.0.0.1", []corev1.PodIP{{IP: "127.0.0.1"}}
	require.NoError(t, plane.Client.Status().Update(t.Context(), pod))
}

// systemPod is that of a component.
func systemPod(component, name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: testenv.SystemNamespace, Name: name, Labels: map[string]string{"app.kubernetes.io/name": "connectedapps", "app.kubernetes.io/component": component},
	}}
}

// createReader makes a ServiceAccount that may read the manager's metrics, as
// docs/monitoring.md says, and returns a token of it.
func createReader(t *testing.T, kubectl *testenv.Kubectl) (token string) {
	t.Helper()
	kubectl.Run(t, "", "create", "namespace", "monitoring")
	kubectl.Run(t, "", "create", "serviceaccount", "-n", "monitoring", "prometheus")
	kubectl.Run(t, "", "apply", "-f", filepath.Join(testenv.ModuleRoot(), "config", "rbac", "metrics_roles.yaml"))
	page, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "monitoring.md"))
	require.NoError(t, err)
	_, command, found := strings.Cut(string(page), "\nkubectl create clusterrolebinding ")
	require.True(t, found)
	command, _, _ = strings.Cut(command, "\n")
	kubectl.Run(t, "", append([]string{"create", "clusterrolebinding"}, strings.Fields(command)...)...)
	return strings.TrimSpace(kubectl.Run(t, "", "create", "token", "-n", "monitoring", "prometheus"))
}
