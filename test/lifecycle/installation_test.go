// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
)

// patience is how long what should happen within seconds may take on a busy machine.
const patience = 2 * time.Minute

// process is a program that runs, and what it printed.
type process struct {
	command *exec.Cmd
	ended   chan struct{}
	mu      sync.Mutex
	text    bytes.Buffer
}

// Write implements io.Writer.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func start(t *testing.T, environment []string, program string, args ...string) *process {
	t.Helper()
	p := &process{command: exec.CommandContext(t.Context(), program, args...), ended: make(chan struct{})}
	p.command.Env = append(os.Environ(), environment...)
	p.command.Stdout, p.command.Stderr = p, p
	require.NoError(t, p.command.Start())
	go func() { _ = p.command.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Log(program, p.String())
		}
	})
	return p
}

// terminate asks a process to end, as the kubelet does.
func (p *process) terminate() { _ = p.command.Process.Signal(syscall.SIGTERM) }

// stop ends a process.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.terminate()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		require.FailNow(t, "it does not end", p.String())
	}
}

// installation is a manager and a token server with the arguments, files and rights
// of their Pods, and the objects of a team.
type installation struct {
	*testing.T
	client client.WithWatch
	// files is /etc/tokenserver, data is /var/lib/tokenserver.
	files, data        string
	listen, operations string
	team               string
	manager, server    *process
	managerOf          *release
	// servers are all token servers that were started.
	servers []*process
	// listFrom and auditFrom are times: when the manager or a server started, and
	// when what was done on purpose ended.
	listFrom, auditFrom time.Time
}

func newInstallation(t *testing.T, team string) *installation {
	t.Helper()
	c, err := client.NewWithWatch(admin, client.Options{Scheme: testenv.NewScheme()})
	require.NoError(t, err)
	return &installation{
		T: t, client: c, files: t.TempDir(), data: t.TempDir(), listen: testenv.FreeAddress(t), operations: testenv.FreeAddress(t), team: team,
	}
}

// url leads to the token server.
func (i *installation) url() string {
	return "https://" + strings.Replace(i.listen, "127.0.0.1", "localhost", 1)
}

// apply is what docs/upgrading.md does first.
func (i *installation) apply(r *release) {
	i.Helper()
	kubectl(i.T, r.manifests, "apply", "--server-side", "-f", "-")
	kubectl(i.T, "", "wait", "--for=condition=Established", "--timeout=60s", "crd",
		"tokenservers.connectedapps.dev", "connectedapps.connectedapps.dev", "accesstokens.connectedapps.dev")
}

// run starts both programs of a release.
func (i *installation) run(r *release) {
	i.Helper()
	i.startManager(r)
	i.startServer(r)
}

func (i *installation) tokenOf(account string) string {
	i.Helper()
	return strings.TrimSpace(kubectl(i.T, "", "create", "token", "-n", systemNamespace, account))
}

// startManager puts a manager in place of the one that runs.
func (i *installation) startManager(r *release) {
	i.Helper()
	if i.manager != nil {
		i.manager.stop(i.T)
	}
	config := filepath.Join(i.TempDir(), "kubeconfig")
	set := func(args ...string) {
		kubectl(i.T, "", append([]string{"config", "--kubeconfig=" + config}, args...)...)
	}
	set("set-cluster", "it", "--server="+i.address(), "--certificate-authority="+i.authority())
	set("set-credentials", "manager", "--token="+i.tokenOf("connectedapps-manager"))
	set("set-context", "it", "--cluster=it", "--user=manager")
	set("use-context", "it")
	container := find[appsv1.Deployment](i.T, r, "Deployment", "connectedapps-manager").Spec.Template.Spec.Containers[0]
	args := []string{"--kubeconfig=" + config}
	for _, arg := range container.Args {
		args = append(args, strings.ReplaceAll(arg, "$(POD_NAMESPACE)", systemNamespace))
	}
	args = append(args, "--health-probe-bind-address=0", "--metrics-bind-address=0")
	i.listFrom = now()
	i.manager, i.managerOf = start(i.T, nil, r.manager, args...), r
}

func (i *installation) address() string {
	i.Helper()
	url, _, err := rest.DefaultServerUrlFor(admin)
	require.NoError(i, err)
	return strings.TrimSuffix(url.String(), "/")
}

// authority is the file with the API server's.
func (i *installation) authority() string {
	i.Helper()
	path := filepath.Join(i.files, "api-ca.crt")
	require.NoError(i, os.WriteFile(path, admin.CAData, 0o600))
	return path
}

// startServer puts a token server in place of the one that runs.
func (i *installation) startServer(r *release) {
	i.Helper()
	if i.server != nil {
		i.server.stop(i.T)
	}
	i.server = i.serve(r, i.listen, i.operations)
}

// serve starts a token server with the files of its Pod.
func (i *installation) serve(r *release, listen, operations string) *process {
	i.Helper()
	spec := find[appsv1.Deployment](i.T, r, "Deployment", "tokenserver").Spec.Template.Spec
	for _, v := range spec.Volumes {
		if v.Secret != nil && (v.Secret.Optional == nil || !*v.Secret.Optional) {
			i.mount(v.Name, v.Secret.SecretName)
		}
	}
	token := filepath.Join(i.files, "token")
	require.NoError(i, os.WriteFile(token, []byte(i.tokenOf(spec.ServiceAccountName)), 0o600))

	configuration := find[corev1.ConfigMap](i.T, r, "ConfigMap", "tokenserver-config").Data["config.yaml"]
	for field, value := range map[string]string{"publicURL": i.url(), "listen": listen, "operationsListen": operations} {
		configuration = regexp.MustCompile(`(?m)^`+field+`:.*$`).ReplaceAllLiteralString(configuration, field+": "+value)
	}
	inCluster := fmt.Sprintf("discovery: {url: %q, caFile: %q, tokenFile: %q}", i.address(), i.authority(), token)
	configuration = strings.NewReplacer("/etc/tokenserver", i.files, "/var/lib/tokenserver", i.data, "discovery: {}", inCluster).Replace(configuration)
	path := filepath.Join(i.files, fmt.Sprintf("config-%d.yaml", len(i.servers)))
	require.NoError(i, os.WriteFile(path, []byte(configuration), 0o600))
	args := spec.Containers[0].Args
	for n := range args {
		args[n] = strings.ReplaceAll(args[n], "/etc/tokenserver/config/config.yaml", path)
	}
	i.listFrom = now()
	server := start(i.T, []string{"POD_NAMESPACE=" + systemNamespace}, r.tokenserver, args...)
	i.servers = append(i.servers, server)
	i.eventually(func(c *require.Assertions) {
		response, err := http.Get("http://" + operations + "/readyz")
		c.NoError(err, "%s", server)
		_ = response.Body.Close()
		c.Equal(http.StatusOK, response.StatusCode)
	})
	return server
}

// now is a time as the log of a server has it.
func now() time.Time { return time.Now().Round(0) }

// mount puts a Secret where the kubelet does, once it is there.
func (i *installation) mount(folder, name string) {
	i.Helper()
	secret := &corev1.Secret{}
	i.eventually(func(c *require.Assertions) {
		c.NoError(i.client.Get(i.Context(), client.ObjectKey{Namespace: systemNamespace, Name: name}, secret), "%s", i.manager)
	})
	at := filepath.Join(i.files, folder)
	require.NoError(i, os.MkdirAll(at, 0o700))
	for key, value := range secret.Data {
		require.NoError(i, os.WriteFile(filepath.Join(at, key), value, 0o600))
	}
}

// entry is a line in the log of a token server.
type entry struct {
	Time                       time.Time
	Msg, Method, Route, Action string
	ClientID                   string `json:"client_id"`
}

// logged are the entries of the token servers' logs since a time.
func (i *installation) logged(from time.Time) []entry {
	i.Helper()
	var entries []entry
	for _, server := range i.servers {
		for line := range strings.SplitSeq(server.String(), "\n") {
			var e entry
			if json.Unmarshal([]byte(line), &e) == nil && e.Time.After(from) {
				entries = append(entries, e)
			}
		}
	}
	return entries
}

// listed tells whether the apps were listed since the manager, or the server, started.
func (i *installation) listed() bool {
	i.Helper()
	return slices.ContainsFunc(i.logged(i.listFrom), func(e entry) bool {
		return e.Msg == "request" && e.Method == http.MethodGet && strings.HasSuffix(e.Route, "/connectedApplications")
	})
}

// written is what was done to the clients of objects since auditFrom.
func (i *installation) written(objects []status.Object) []entry {
	i.Helper()
	clients := map[string]bool{}
	for _, o := range objects {
		if app, ok := o.(*v1alpha1.ConnectedApp); ok {
			clients[app.Status.ClientID] = true
		}
	}
	return slices.DeleteFunc(i.logged(i.auditFrom), func(e entry) bool {
		return e.Msg != "audit" || e.Action == "token_issued" || !clients[e.ClientID]
	})
}

func (i *installation) eventually(check func(*require.Assertions)) {
	i.Helper()
	testenv.EventuallyWithin(i.T, patience, check)
}

func (i *installation) ready(objects ...status.Object) {
	i.Helper()
	for _, o := range objects {
		i.eventually(func(c *require.Assertions) {
			c.NoError(i.client.Get(i.Context(), client.ObjectKeyFromObject(o), o))
			c.True(status.IsReady(o), "%T %s: %+v", o, o.GetName(), *o.GetConditions())
		})
	}
}

// populate makes the objects of a team: an app of each grant, and of each way to
// authenticate, and tokens. It returns all of them.
func (i *installation) populate() []status.Object {
	i.Helper()
	kubectl(i.T, "", "create", "namespace", i.team)
	kubectl(i.T, i.objects(), "apply", "--server-side", "-f", "-")
	objects := i.all()
	require.Len(i, objects, 9)
	i.ready(objects...)
	return objects
}

// all are the objects of ours, TokenServers first.
func (i *installation) all() []status.Object {
	i.Helper()
	var servers v1alpha1.TokenServerList
	var apps v1alpha1.ConnectedAppList
	var tokens v1alpha1.AccessTokenList
	for _, list := range []client.ObjectList{&servers, &apps, &tokens} {
		require.NoError(i, i.client.List(i.Context(), list))
	}
	var all []status.Object
	for n := range servers.Items {
		all = append(all, &servers.Items[n])
	}
	for n := range apps.Items {
		all = append(all, &apps.Items[n])
	}
	for n := range tokens.Items {
		all = append(all, &tokens.Items[n])
	}
	return all
}

func (i *installation) objects() string {
	return strings.NewReplacer("TEAM", i.team, "SERVER_URL", i.url()).Replace(`
apiVersion: connectedapps.dev/v1alpha1
kind: TokenServer
metadata: {name: default}
spec:
  url: SERVER_URL
  caBundle: {configMapRef: {name: tokenserver-ca, key: ca.crt}}
  credentials: {type: ServiceAccount, clientID: connectedapps-manager}
  workloadIssuer: cluster
  deletionTimeout: 1s
  access:
  - name: all
    namespaceSelector: {}
    grantTypes: [authorization_code, refresh_token, password, "urn:ietf:params:oauth:grant-type:jwt-bearer", client_credentials]
    scopes: [{scope: "*"}]
    redirectHosts: [example.com, "*.example.com"]
    redirectSchemes: [com.example.app]
    audiences: [internal, everyone]
    deletionPolicies: [Delete, Orphan]
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: job, namespace: TEAM}
spec:
  grantTypes: [client_credentials]
  scopes: [{scope: profile}, {scope: "view:environment"}]
  credentials: {type: Secret, secret: {preset: snake}, rotation: {interval: 720h, overlap: 24h}}
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: portal, namespace: TEAM}
spec:
  clientName: Portal
  grantTypes: [authorization_code, refresh_token]
  redirectURIs: ["https://portal.example.com/callback"]
  postLogoutRedirectURIs: ["https://portal.example.com/out"]
  scopes: [{scope: openid}, {scope: profile}, {scope: offline_access}]
  audience: everyone
  clientURI: https://portal.example.com
  driftPolicy: Report
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: native, namespace: TEAM}
spec:
  clientType: Public
  grantTypes: [authorization_code, refresh_token]
  redirectURIs: ["com.example.app:/callback"]
  scopes: [{scope: openid}, {scope: offline_access}]
  deletionPolicy: Orphan
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: console, namespace: TEAM}
spec:
  grantTypes: [password]
  scopes: [{scope: profile}]
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: pods, namespace: TEAM}
spec:
  grantTypes: [client_credentials]
  credentials: {type: ServiceAccount, serviceAccounts: [{name: reports}]}
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: renamed, namespace: TEAM}
spec:
  grantTypes: [client_credentials]
  scopes: [{scope: profile}]
  credentials: {type: Secret, secret: {name: theirs, keys: {client-id: user, client-secret: password}, metadata: {labels: {team: payments}}}}
---
apiVersion: connectedapps.dev/v1alpha1
kind: AccessToken
metadata: {name: job, namespace: TEAM}
spec:
  connectedAppRef: {name: job}
  secret: {name: job-token}
  scopes: [profile]
---
apiVersion: connectedapps.dev/v1alpha1
kind: AccessToken
metadata: {name: renamed, namespace: TEAM}
spec:
  connectedAppRef: {name: renamed}
  deletionPolicy: Retain
`)
}
