// SPDX-License-Identifier: Apache-2.0

// Package e2e looks at the product in real Pods on a real node, which
// hack/e2e.sh makes: make test-e2e.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// lifetime of tokens: Pods see several of them within a test.
	lifetime = "30s"
	// patience is how long anything may take on a machine that is busy.
	patience = 3 * time.Minute
)

// TestOnANode installs by each command of README.md, in an empty cluster, has workloads
// get tokens in every way there is, and takes all of it away. Each step stands on those
// before it.
func TestOnANode(t *testing.T) {
	if os.Getenv("E2E") == "" {
		t.Skip("make test-e2e runs it")
	}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"a release is sent to a registry", send},
		{"kubectl installs the release", byKubectl},
		{"helm installs the release", byHelm},
		{"make installs the images of a checkout", byMake},
		{"settings are an overlay", settings},
		{"the manager logs in without a secret", logIn},
		{"a restricted namespace without a Secret gets a token into its Pod", secretless},
		{"a Deployment has a token at its first read and at every other", deployment},
		{"a mounted Secret has the new token after a refresh", mountedSecret},
		{"a Job with the sidecar completes", job},
		{"all of it goes away", takeAway},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

// provide has a volume for the token server of one installation.
func provide(t *testing.T, installation string) {
	t.Helper()
	dir := filepath.Join(os.Getenv("E2E_VOLUME"), installation)
	require.NoError(t, os.Mkdir(dir, 0o777))
	require.NoError(t, os.Chmod(dir, 0o777))
	apply(t, `
apiVersion: v1
kind: PersistentVolume
metadata: {name: tokenserver}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  local: {path: `+dir+`}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node]}]}]}}
`)
}

// send follows docs/releases.md, with what hack/e2e/release.sh made.
func send(t *testing.T) {
	shell(t, releaseFolder(), commands(t, "docs/releases.md", "## A release", 0), "DIST=dist")
}

func byKubectl(t *testing.T) {
	provide(t, "kubectl")
	downloads := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(releaseFolder(), "dist"))))
	defer downloads.Close()
	apply := regexp.MustCompile(`https://example\.com/releases/v[^/]*`).ReplaceAllLiteralString(install(t, "kubectl apply "), downloads.URL)
	require.Contains(t, apply, downloads.URL)
	shell(t, ".", apply)
	lives(t, filepath.Join(releaseFolder(), "dist", "images"))
	without := commands(t, "docs/removal.md", "## Without make", 0)
	require.Contains(t, without, "delete -k config/default ")
	shell(t, ".", strings.Replace(without, "-k config/default ", "-f "+downloads.URL+"/install.yaml ", 1))
	gone(t)
}

func byHelm(t *testing.T) {
	provide(t, "helm")
	shell(t, ".", install(t, "helm install "))
	lives(t, filepath.Join(releaseFolder(), "dist", "images"))
	for block := range 2 {
		shell(t, ".", commands(t, "docs/helm.md", "## Uninstall", block))
	}
	gone(t)
}

func byMake(t *testing.T) {
	provide(t, "make")
	shell(t, ".", install(t, "make push deploy "))
	lives(t, os.Getenv("IMAGES"))
}

// lives waits until an installation with the images of a layout is ready, and an app
// gets a token.
func lives(t *testing.T, layout string) {
	t.Helper()
	rolledOut(t)
	pulled(t, layout, "connectedapps-system", "containerStatuses", "manager", "tokenserver")
	logIn(t)
	apply(t, `
apiVersion: v1
kind: Namespace
metadata: {name: first, labels: {team: payments, pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: app, namespace: first}
spec: {grantTypes: [client_credentials], scopes: [{scope: profile}]}
---
apiVersion: connectedapps.dev/v1alpha1
kind: AccessToken
metadata: {name: app, namespace: first}
spec: {connectedAppRef: {name: app}, secret: {name: app-token}}
---
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: first}
spec:`+restricted+`
    args: [-tokens=1]
    volumeMounts: [{name: token, mountPath: /var/run/connectedapps/token, readOnly: true}]
  volumes: [{name: token, secret: {secretName: app-token}}]
`)
	succeeds(t, "pod/app", "first")
	tokens(t, "pod/app", "first", 1)
	kubectl(t, "delete", "namespace", "first", "--timeout="+patience.String())
}

func rolledOut(t *testing.T) {
	t.Helper()
	for _, name := range []string{"tokenserver", "connectedapps-manager"} {
		kubectl(t, "rollout", "status", "deployment/"+name, "--namespace=connectedapps-system", "--timeout="+patience.String())
	}
}

// settings are those of these tests, in a folder like that of docs/installation.md.
func settings(t *testing.T) {
	configuration, err := os.ReadFile("config/tokenserver/config.yaml")
	require.NoError(t, err)
	const hour = "accessTokenLifetime: 1h\n"
	require.Equal(t, 1, strings.Count(string(configuration), hour), "the lifetime of tokens is not where it was")
	base, err := filepath.Abs("test/e2e/install")
	require.NoError(t, err)
	base, err = filepath.Rel(overlay(), base)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(overlay(), 0o755))
	for name, content := range map[string]string{
		"config.yaml": strings.Replace(string(configuration), hour, "accessTokenLifetime: "+lifetime+"\n", 1),
		"kustomization.yaml": "resources: [" + base + `]
configMapGenerator:
- name: tokenserver-config
  namespace: connectedapps-system
  behavior: replace
  files: [config.yaml]
  options: {disableNameSuffixHash: true}
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(overlay(), name), []byte(content), 0o600))
	}
	shell(t, ".", "make deploy REGISTRY=registry.example.com/connectedapps KUSTOMIZATION="+overlay())
	kubectl(t, "rollout", "restart", "deployment/tokenserver", "--namespace=connectedapps-system")
	rolledOut(t)
}

func overlay() string { return filepath.Join(os.Getenv("E2E_VOLUME"), "settings") }

// releaseFolder is what hack/e2e/release.sh made.
func releaseFolder() string { return os.Getenv("E2E_RELEASE") }

func logIn(t *testing.T) {
	kubectl(t, "apply", "--server-side", "--filename=config/samples/connectedapps_v1alpha1_tokenserver.yaml")
	ready(t, "tokenserver/default", "default")
	secrets := strings.Fields(kubectl(t, "get", "secrets", "--namespace=connectedapps-system", "--output=name"))
	// Helm keeps a release in a Secret.
	secrets = slices.DeleteFunc(secrets, func(name string) bool { return strings.HasPrefix(name, "secret/sh.helm.release.") })
	require.ElementsMatch(t, []string{"secret/tokenserver-keys", "secret/tokenserver-ca", "secret/tokenserver-tls"}, secrets,
		"a secret of the manager, or one that nobody knows of")
}

// restricted is what the Pod Security level of the same name wants of a Pod.
const restricted = `
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  restartPolicy: Never
  containers:
  - name: app
    image: 127.0.0.1:5000/connectedapps/app:dev
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

func secretless(t *testing.T) {
	apply(t, `
apiVersion: v1
kind: Namespace
metadata: {name: reports, labels: {team: payments, pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reports, namespace: reports}
---
apiVersion: connectedapps.dev/v1alpha1
kind: ConnectedApp
metadata: {name: reports, namespace: reports}
spec:
  grantTypes: [client_credentials]
  credentials: {type: ServiceAccount, serviceAccounts: [{name: reports}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reports, namespace: reports, labels: {connectedapps.dev/inject: reports}}
spec:
  serviceAccountName: reports`+restricted+`
    args: [-tokens=2]
`)
	_, refusal, err := try(t, "", "run", "lax", "--namespace=reports", "--image=127.0.0.1:5000/connectedapps/app:dev", "--restart=Never")
	require.Error(t, err, "a Pod that is not restricted")
	require.Contains(t, refusal, "violates PodSecurity")
	ready(t, "connectedapp/reports", "reports")
	succeeds(t, "pod/reports", "reports")
	tokens(t, "pod/reports", "reports", 2)
	require.Empty(t, kubectl(t, "get", "secrets", "--namespace=reports", "--output=name"), "Secrets of the namespace")
}

// deployment has the Pod there before its app is: only what holds the application
// back until there is a token lets its first read succeed.
func deployment(t *testing.T) {
	kubectl(t, "apply", "--server-side", "--filename=config/samples/namespace.yaml")
	kubectl(t, "apply", "--server-side", "--kustomize=test/e2e/payments", "--selector=app.kubernetes.io/name=gitproxy")
	eventually(t, "the sidecar running without credentials", func() bool {
		return kubectl(t, "get", "pods", "--namespace=payments",
			"--output=jsonpath={.items[*].status.initContainerStatuses[*].state.running.startedAt}") != ""
	})
	kubectl(t, "apply", "--server-side", "--kustomize=test/e2e/payments")
	ready(t, "connectedapp/gitproxy", "payments")
	kubectl(t, "rollout", "status", "deployment/gitproxy", "--namespace=payments", "--timeout="+patience.String())
	tokens(t, "deployment/gitproxy", "payments", 3)
	neverRestarted(t, "app.kubernetes.io/name=gitproxy", "payments")
	pulled(t, os.Getenv("IMAGES"), "payments", "initContainerStatuses", "refresher")
}

func mountedSecret(t *testing.T) {
	ready(t, "accesstoken/gitproxy", "payments")
	apply(t, `
apiVersion: v1
kind: Pod
metadata: {name: mount, namespace: payments, labels: {app.kubernetes.io/name: mount}}
spec:`+restricted+`
    args: [-tokens=3]
    volumeMounts: [{name: token, mountPath: /var/run/connectedapps/token, readOnly: true}]
  volumes: [{name: token, secret: {secretName: gitproxy-token}}]
`)
	succeeds(t, "pod/mount", "payments")
	tokens(t, "pod/mount", "payments", 3)
}

func job(t *testing.T) {
	spec := strings.ReplaceAll("spec:"+restricted+"    args: [-tokens=2]", "\n", "\n    ")
	apply(t, `
apiVersion: batch/v1
kind: Job
metadata: {name: nightly, namespace: payments}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {connectedapps.dev/inject: gitproxy}}
    `+spec+`
`)
	succeeds(t, "job/nightly", "payments")
	tokens(t, "job/nightly", "payments", 2)
	sidecar := kubectl(t, "get", "pods", "--namespace=payments", "--selector=job-name=nightly",
		"--output=jsonpath={.items[*].status.initContainerStatuses[*].state.terminated.exitCode}")
	require.Equal(t, "0", sidecar, "exit codes of the sidecar")
}

// takeAway follows docs/removal.md.
func takeAway(t *testing.T) {
	timeout := "--timeout=" + patience.String()
	shell(t, ".", "make undeploy KUSTOMIZATION="+overlay())
	kubectl(t, "delete", "namespace", "payments", "reports", timeout)
	gone(t)
}

// gone says that nothing of ours is there, but the volume, which goes now: it
// belongs to a claim that is gone.
func gone(t *testing.T) {
	t.Helper()
	kubectl(t, "delete", "persistentvolume", "tokenserver", "--timeout="+patience.String())
	require.Empty(t, kubectl(t, "get", "namespaces,persistentvolumes", "--output",
		"jsonpath={.items[?(@.metadata.deletionTimestamp)].metadata.name}"), "what is terminating")
	require.Empty(t, kubectl(t, "get", "pods", "--all-namespaces", "--output=name"), "Pods")
	for _, resource := range []string{"namespaces", "customresourcedefinitions", "clusterroles", "clusterrolebindings",
		"mutatingadmissionpolicies", "validatingadmissionpolicies", "priorityclasses"} {
		require.NotContains(t, kubectl(t, "get", resource, "--output=name"), "connectedapp")
	}
}

var tokenLine = regexp.MustCompile(`(?m)^token \d+: (\w+), expires (\S+)$`)

// tokens waits until the application has seen so many, all different, and each
// before the last one expired. It ends at the first read without a valid one.
func tokens(t *testing.T, workload, namespace string, want int) {
	t.Helper()
	var seen [][]string
	eventually(t, fmt.Sprintf("%d tokens in the log of %s", want, workload), func() bool {
		seen = tokenLine.FindAllStringSubmatch(kubectl(t, "logs", workload, "--namespace="+namespace), -1)
		return len(seen) >= want
	})
	different := map[string]bool{}
	for _, token := range seen {
		t.Log(token[0])
		different[token[1]] = true
	}
	require.Len(t, different, len(seen), "a token that came back")
}

// pulled says that the Pods run these images, and that they are those of a layout:
// they have its digests.
func pulled(t *testing.T, layout, namespace, containers string, names ...string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(layout, "index.json"))
	require.NoError(t, err)
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	require.NoError(t, json.Unmarshal(content, &index))
	var want []string
	for _, image := range index.Manifests {
		if name := image.Annotations["org.opencontainers.image.ref.name"]; slices.Contains(names, name) {
			want = append(want, "127.0.0.1:5000/connectedapps/"+name+"@"+image.Digest)
		}
	}
	running := strings.Fields(kubectl(t, "get", "pods", "--namespace="+namespace, "--output=jsonpath={.items[*].status."+containers+"[*].imageID}"))
	slices.Sort(running)
	require.ElementsMatch(t, want, slices.Compact(running), "images that Pods run")
}

// neverRestarted says that no container of these Pods has: none lacked anything
// at its start or later.
func neverRestarted(t *testing.T, selector, namespace string) {
	t.Helper()
	require.Equal(t, "0", kubectl(t, "get", "pods", "--namespace="+namespace, "--selector="+selector,
		"--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}"), "restarts of the application")
}

func ready(t *testing.T, object, namespace string) {
	t.Helper()
	kubectl(t, "wait", object, "--for=condition=Ready", "--namespace="+namespace, "--timeout="+patience.String())
}

// succeeds waits for the end of a Pod or Job, which is to be a good one.
func succeeds(t *testing.T, object, namespace string) {
	t.Helper()
	end := ""
	eventually(t, "the end of "+object, func() bool {
		end = kubectl(t, "get", object, "--namespace="+namespace,
			`--output=jsonpath={.status.phase}{.status.conditions[?(@.status=="True")].type}`)
		return strings.Contains(end, "Succeeded") || strings.Contains(end, "Complete") || strings.Contains(end, "Failed")
	})
	if strings.Contains(end, "Failed") {
		tell(t)
		require.Fail(t, object+" failed")
	}
}

func apply(t *testing.T, manifests string) {
	t.Helper()
	command(t, manifests, "apply", "--server-side", "--filename=-")
}

func kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	return command(t, "", arguments...)
}

// command runs kubectl, and says so while it takes long.
func command(t *testing.T, input string, arguments ...string) string {
	t.Helper()
	out, problem, err := try(t, input, arguments...)
	if err != nil {
		tell(t)
	}
	require.NoError(t, err, "kubectl %s\n%s%s", strings.Join(arguments, " "), out, problem)
	return out
}

// tell says what there is to know of Pods and objects of ours, for a step that failed.
func tell(t *testing.T) {
	t.Helper()
	looks := [][]string{
		{"get", "pods", "--all-namespaces", "--output=wide"},
		{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
		{"get", "tokenservers,connectedapps,accesstokens", "--all-namespaces", "--output=yaml"},
	}
	pods, _, _ := try(t, "", "get", "pods", "--all-namespaces", "--no-headers", "--output=custom-columns=:metadata.namespace,:metadata.name")
	for pod := range strings.Lines(pods) {
		if name := strings.Fields(pod); len(name) == 2 {
			looks = append(looks, []string{"logs", "--namespace=" + name[0], name[1], "--all-containers", "--prefix", "--tail=20"})
		}
	}
	for _, look := range looks {
		text, problem, _ := try(t, "", look...)
		t.Logf("kubectl %s\n%s%s", strings.Join(look, " "), text, problem)
	}
}

func try(t *testing.T, input string, arguments ...string) (out, problem string, err error) {
	t.Helper()
	return run(t, os.Getenv("KUBECTL"), input, arguments...)
}

// commands are a block of those below a heading of a page.
func commands(t *testing.T, page, heading string, block int) string {
	t.Helper()
	blocks := regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```").FindAllStringSubmatch(section(t, page, heading), -1)
	require.Greater(t, len(blocks), block, "%s: %s", page, heading)
	return blocks[block][1]
}

// install is the command of README.md that begins like this.
func install(t *testing.T, command string) string {
	t.Helper()
	for line := range strings.Lines(section(t, "README.md", "## Install it in a cluster")) {
		if strings.HasPrefix(line, "    "+command) {
			return line
		}
	}
	require.Fail(t, "README.md does not install with "+command)
	return ""
}

func section(t *testing.T, page, heading string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), heading+"\n")
	require.True(t, found, "%s: %s", page, heading)
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

// shell runs commands of a page in a folder, for the registry of this node. It is asked
// over plain http, which Helm wants to be told.
func shell(t *testing.T, folder, commands string, environment ...string) {
	t.Helper()
	programs := t.TempDir()
	kubectl, err := exec.LookPath(os.Getenv("KUBECTL"))
	require.NoError(t, err)
	kubectl, err = filepath.Abs(kubectl)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(kubectl, filepath.Join(programs, "kubectl")))
	helm, err := filepath.Abs("bin/helm/helm4")
	require.NoError(t, err)
	script := "#!/bin/sh\ncase \"$*\" in *oci://*) set -- \"$@\" --plain-http ;; esac\nexec " + helm + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(programs, "helm"), []byte(script), 0o755))

	commands = strings.ReplaceAll(commands, "registry.example.com", "127.0.0.1:5000")
	t.Log(commands)
	defer progress(commands)()
	process := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	process.Dir = folder
	// The make around this has told those here nothing.
	process.Env = append(os.Environ(), append(environment, "MAKEFLAGS=", "PATH="+programs+":"+os.Getenv("PATH"))...)
	out, err := process.CombinedOutput()
	if err != nil {
		tell(t)
	}
	require.NoError(t, err, "%s\n%s", commands, out)
	t.Logf("%s", out)
}

func run(t *testing.T, program, input string, arguments ...string) (out, problem string, err error) {
	t.Helper()
	defer progress(filepath.Base(program) + " " + strings.Join(arguments, " "))()
	var output, problems bytes.Buffer
	process := exec.CommandContext(t.Context(), program, arguments...)
	process.Stdin, process.Stdout, process.Stderr = strings.NewReader(input), &output, &problems
	err = process.Run()
	return output.String(), problems.String(), err
}

func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	defer progress("waiting for " + what)()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !happened() {
		select {
		case <-ctx.Done():
			tell(t)
			require.Fail(t, "did not happen: "+what)
		case <-time.After(time.Second):
		}
	}
}

// progress says what takes long, every five seconds, until the function that it
// returns is called.
func progress(what string) (done func()) {
	ended := make(chan struct{})
	start := time.Now()
	go func() {
		ticker := time.NewTicker(5 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
				fmt.Printf("  %s, %.0fs\n", what, time.Since(start).Seconds())
			}
		}
	}()
	return func() { close(ended) }
}
