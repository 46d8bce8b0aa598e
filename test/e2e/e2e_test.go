// SPDX-License-Identifier: Apache-2.0

// Package e2e looks at the product in real Pods on a real node, which
// hack/e2e.sh makes: make test-e2e.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

// TestOnANode installs the images of make images, has workloads get tokens in every
// way there is, and takes all of it away. Each step stands on those before it.
func TestOnANode(t *testing.T) {
	if os.Getenv("E2E") == "" {
		t.Skip("make test-e2e runs it")
	}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the chart's installation becomes ready and goes away", chart},
		{"the installation becomes ready", install},
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

// chart follows docs/helm.md, in an empty cluster, and leaves it empty.
func chart(t *testing.T) {
	timeout := "--timeout=" + patience.String()
	provide(t, "chart")
	helm(t, "install", "connectedapps", "charts/connectedapps", "--namespace=connectedapps-system", "--create-namespace", "--wait", timeout,
		"--set=image.prefix=127.0.0.1:5000/connectedapps,image.tag=dev,injection.enabled=true")
	pulled(t, "connectedapps-system", "containerStatuses", "manager", "tokenserver")
	logIn(t)
	kubectl(t, "delete", "tokenservers", "--all", timeout)
	helm(t, "uninstall", "connectedapps", "--namespace=connectedapps-system", "--wait", timeout)
	kubectl(t, "delete", "namespace", "connectedapps-system", timeout)
	kubectl(t, "delete", "crd", "accesstokens.connectedapps.dev", "connectedapps.connectedapps.dev", "tokenservers.connectedapps.dev", timeout)
	gone(t)
}

func install(t *testing.T) {
	provide(t, "kustomize")
	manifests := kubectl(t, "kustomize", "test/e2e/install")
	const hour = "accessTokenLifetime: 1h\n"
	require.Equal(t, 1, strings.Count(manifests, hour), "the lifetime of tokens is not where it was")
	apply(t, strings.Replace(manifests, hour, "accessTokenLifetime: "+lifetime+"\n", 1))
	for _, name := range []string{"tokenserver", "connectedapps-manager"} {
		kubectl(t, "rollout", "status", "deployment/"+name, "--namespace=connectedapps-system", "--timeout="+patience.String())
	}
	pulled(t, "connectedapps-system", "containerStatuses", "manager", "tokenserver")
}

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
	pulled(t, "payments", "initContainerStatuses", "refresher")
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
	kubectl(t, "delete", "connectedapps,accesstokens", "--all", "--all-namespaces", timeout)
	kubectl(t, "delete", "namespace", "payments", "reports", timeout)
	kubectl(t, "delete", "tokenservers", "--all", timeout)
	kubectl(t, "delete", "--kustomize=test/e2e/install", timeout)
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

// pulled says that the Pods run these images, and that they are those of the layout
// that make images wrote: they have its digests.
func pulled(t *testing.T, namespace, containers string, names ...string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(os.Getenv("IMAGES"), "index.json"))
	require.NoError(t, err)
	var layout struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	require.NoError(t, json.Unmarshal(content, &layout))
	var want []string
	for _, image := range layout.Manifests {
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

func helm(t *testing.T, arguments ...string) {
	t.Helper()
	out, problem, err := run(t, "bin/helm/helm4", "", arguments...)
	if err != nil {
		tell(t)
	}
	require.NoError(t, err, "helm %s\n%s%s", strings.Join(arguments, " "), out, problem)
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
