// SPDX-License-Identifier: Apache-2.0

package kubesecret

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/testenv/controlplane"
)

const root = "../../.."

var (
	// binary is the refresher as it is shipped.
	binary string
	config *rest.Config
	admin  *kubernetes.Clientset
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kubesecret-test-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "refresher")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, root+"/cmd/refresher")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the refresher: %v\n%s", err, out)
		return 1
	}
	environment := &envtest.Environment{ControlPlaneStartTimeout: time.Minute, ControlPlaneStopTimeout: time.Minute}
	stop, err := controlplane.Start(environment)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = stop() }()
	config = environment.Config
	config.QPS = -1
	if admin, err = kubernetes.NewForConfig(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// pod is what a Pod of the shipped example has: a namespace, a ServiceAccount
// with the shipped rights, and its files.
type pod struct {
	namespace string
	dir       string
}

const secretName = "gitproxy-shared-token"

// newPod makes a namespace with the rights of config/samples/shared-token.
func newPod(t *testing.T, change ...func(*rbacv1.Role)) *pod {
	t.Helper()
	namespace, err := admin.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	p := &pod{namespace: namespace.Name, dir: t.TempDir()}

	role := &rbacv1.Role{}
	binding := &rbacv1.RoleBinding{}
	account := &corev1.ServiceAccount{}
	text, err := os.ReadFile(filepath.Join(root, "config/samples/shared-token/rights.yaml"))
	require.NoError(t, err)
	documents := splitDocuments(string(text))
	require.Len(t, documents, 3)
	for i, object := range []any{account, role, binding} {
		require.NoError(t, yaml.UnmarshalStrict([]byte(documents[i]), object))
	}
	account.Namespace, role.Namespace, binding.Namespace, binding.Subjects[0].Namespace = p.namespace, p.namespace, p.namespace, p.namespace
	for _, f := range change {
		f(role)
	}
	_, err = admin.CoreV1().ServiceAccounts(p.namespace).Create(t.Context(), account, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = admin.RbacV1().Roles(p.namespace).Create(t.Context(), role, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = admin.RbacV1().RoleBindings(p.namespace).Create(t.Context(), binding, metav1.CreateOptions{})
	require.NoError(t, err)

	request, err := admin.CoreV1().ServiceAccounts(p.namespace).CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	p.write(t, "token", request.Status.Token)
	p.write(t, "ca.crt", string(config.CAData))
	p.write(t, "namespace", p.namespace)
	return p
}

func (p *pod) write(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600))
}

// environment is what the kubelet sets.
func environment(t *testing.T) map[string]string {
	t.Helper()
	u, err := url.Parse(config.Host)
	require.NoError(t, err)
	return map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}
}

func (p *pod) output(t *testing.T) *Output {
	t.Helper()
	variables := environment(t)
	api, err := InCluster(func(name string) string { return variables[name] }, p.dir)
	require.NoError(t, err)
	namespace, err := api.Namespace()
	require.NoError(t, err)
	return &Output{API: api, Namespace: namespace, Name: secretName}
}

// secret is the Secret as an administrator sees it; nil when there is none.
func (p *pod) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	list, err := admin.CoreV1().Secrets(p.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + secretName})
	require.NoError(t, err)
	if len(list.Items) == 0 {
		return nil
	}
	return &list.Items[0]
}

func (p *pod) create(t *testing.T, change func(*corev1.Secret)) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretName}}
	change(secret)
	made, err := admin.CoreV1().Secrets(p.namespace).Create(t.Context(), secret, metav1.CreateOptions{})
	require.NoError(t, err)
	return made
}

func (p *pod) update(t *testing.T, change func(*corev1.Secret)) {
	t.Helper()
	secret := p.secret(t)
	require.NotNil(t, secret)
	change(secret)
	_, err := admin.CoreV1().Secrets(p.namespace).Update(t.Context(), secret, metav1.UpdateOptions{})
	require.NoError(t, err)
}

func (p *pod) delete(t *testing.T) {
	t.Helper()
	require.NoError(t, admin.CoreV1().Secrets(p.namespace).Delete(t.Context(), secretName, metav1.DeleteOptions{}))
}

var purpose = refresher.NewPurpose([]string{"app"}, []string{"secret"})

func token(value string, life time.Duration) *refresher.Held {
	now := time.Now()
	return &refresher.Held{
		Token:   &refresher.Token{AccessToken: value, Scope: "profile", IssuedAt: now, ExpiresAt: now.Add(life)},
		Purpose: string(purpose),
	}
}
