// SPDX-License-Identifier: Apache-2.0

// Package chart installs charts/connectedapps on a real API server as its users
// do, with Helm 3 and Helm 4.
package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/controlplane"
)

const systemNamespace = "connectedapps-system"

var (
	chartFolder = filepath.Join(testenv.ModuleRoot(), "charts", "connectedapps")
	// folder is for all tests.
	folder string
	// admin connects to the API server as an administrator, as kubeconfig does.
	admin      *rest.Config
	kubeconfig string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "chart-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	environment := &envtest.Environment{}
	stop, err := controlplane.Start(environment)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = stop() }()
	admin, kubeconfig = environment.Config, filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// helm is one of the versions of Helm.
type helm struct {
	*testing.T
	path string
}

// newHelm is a version of Helm. make helm builds them.
func newHelm(t *testing.T, version string) helm {
	t.Helper()
	path := filepath.Join(testenv.ModuleRoot(), "bin", "helm", version)
	require.FileExists(t, path, "run make helm")
	return helm{T: t, path: path}
}

// eachHelm runs a test with every version.
func eachHelm(t *testing.T, test func(helm)) {
	t.Helper()
	for _, version := range []string{"helm3", "helm4"} {
		t.Run(version, func(t *testing.T) { test(newHelm(t, version)) })
	}
}

// try runs helm and returns what it printed, at the end of a test too.
func (h helm) try(args ...string) (stdout, stderr string, err error) {
	h.Helper()
	command := exec.CommandContext(context.WithoutCancel(h.Context()), h.path, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HELM_CACHE_HOME="+folder, "HELM_CONFIG_HOME="+folder, "HELM_DATA_HOME="+folder)
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err = command.Run()
	return out.String(), errOut.String(), err
}

// run runs helm, which must succeed.
func (h helm) run(args ...string) string {
	h.Helper()
	stdout, stderr, err := h.try(args...)
	require.NoError(h, err, "helm %s: %s", strings.Join(args, " "), stderr)
	return stdout
}

// values writes a file of values. Helm reads a comma in its name as the end.
func (h helm) values(text string) string {
	h.Helper()
	file, err := os.CreateTemp(folder, "values-")
	require.NoError(h, err)
	_, err = file.WriteString(text)
	require.NoError(h, errors.Join(err, file.Close()))
	return file.Name()
}

// template renders the chart.
func (h helm) template(namespace, values string, args ...string) objects {
	h.Helper()
	args = append([]string{"template", "connectedapps", chartFolder, "--namespace=" + namespace, "--values=" + h.values(values)}, args...)
	return parse(h.T, h.run(args...))
}

// objects are by kind, namespace and name.
type objects map[string]*unstructured.Unstructured

func (o objects) names() []string { return slices.Sorted(maps.Keys(o)) }

func parse(t *testing.T, documents string) objects {
	t.Helper()
	found := objects{}
	for document := range strings.SplitSeq("\n"+documents, "\n---") {
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object.Object), document)
		if len(object.Object) == 0 {
			continue
		}
		name := strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, "/")
		require.NotContains(t, found, name, "it is there once")
		found[name] = object
	}
	return found
}

// get is an object of that kind and name.
func (o objects) get(t testing.TB, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, object := range o {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	require.FailNow(t, "no "+kind+" "+name, "%q", o.names())
	return nil
}

// field of an object, by a path such as spec.replicas.
func field(t testing.TB, object *unstructured.Unstructured, path ...string) any {
	t.Helper()
	value, _, err := unstructured.NestedFieldNoCopy(object.Object, path...)
	require.NoError(t, err)
	return value
}

// kubectl is the kubectl of users, as an administrator.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, err := tryKubectl(t, stdin, args...)
	require.NoError(t, err, "kubectl %s: %s", strings.Join(args, " "), stderr)
	return stdout
}

func tryKubectl(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	command := exec.CommandContext(context.WithoutCancel(t.Context()), kubectlPath(t), append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err = command.Run()
	return out.String(), errOut.String(), err
}

// kubectlPath is the kubectl of the API server's version, or the installed one.
func kubectlPath(t *testing.T) string {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = filepath.Join(testenv.ModuleRoot(), "bin", "k8s")
	}
	path := filepath.Join(assets, "kubectl")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path, err := exec.LookPath("kubectl")
	require.NoError(t, err, "run make kubectl")
	return path
}
