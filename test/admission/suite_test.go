// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan/plantest"
	"connectedapps.dev/operator/internal/testenv"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// installPolicy applies config/admission/access.yaml, which stays for the tests
// of the package.
func installPolicy(t *testing.T) {
	t.Helper()
	for _, object := range policyObjects(t) {
		require.NoError(t, client.IgnoreAlreadyExists(plane.Client.Create(t.Context(), object)))
	}
}

func policyObjects(t *testing.T) []client.Object {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "config", "admission", "access.yaml"))
	require.NoError(t, err)
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	var objects []client.Object
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects
		} else {
			require.NoError(t, err)
		}
		objects = append(objects, object)
	}
}

// tokenServer creates a TokenServer with access rules whose organization is
// known.
func tokenServer(t *testing.T, rules ...v1alpha1.AccessRule) *v1alpha1.TokenServer {
	t.Helper()
	server := &v1alpha1.TokenServer{ObjectMeta: metav1.ObjectMeta{Name: "server-" + rand.String(8)}}
	server.Spec = v1alpha1.TokenServerSpec{
		URL:         "https://id.example.com",
		Credentials: v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: "admin"}},
		Access:      rules,
	}
	plane.Create(t, server)
	t.Cleanup(func() { _ = plane.Client.Delete(context.Background(), server) })
	server.Status.OrganizationID = plantest.OrganizationID
	require.NoError(t, plane.Client.Status().Update(t.Context(), server))
	return server
}

// settle waits until the API server's policy has seen all TokenServers that were
// written before: it hears of them in their order.
func settle(t *testing.T) {
	t.Helper()
	installPolicy(t)
	last := tokenServer(t)
	testenv.Eventually(t, func(c *require.Assertions) {
		err := plane.Client.Create(t.Context(), testenv.App("default", last.Name), client.DryRunAll)
		c.ErrorContains(err, "TokenServer "+last.Name+" has no access rules")
	})
}

// tenant is a person who may write ConnectedApps, their status and their
// finalizers in one namespace, and nothing else.
func tenant(t *testing.T, namespace string) client.Client {
	t.Helper()
	name := "tenant-" + rand.String(6)
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"connectedapps", "connectedapps/status"}, Verbs: []string{"*"},
		}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	plane.Create(t, role)
	plane.Create(t, binding)
	config := rest.CopyConfig(plane.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	as, err := client.New(config, client.Options{Scheme: plane.Scheme})
	require.NoError(t, err)
	testenv.Eventually(t, func(c *require.Assertions) { // roles take a moment to bite
		c.NoError(as.List(t.Context(), &v1alpha1.ConnectedAppList{}, client.InNamespace(namespace)))
	})
	return as
}

// refusal is the message of the policy; empty: the request is admitted. Any other
// error fails the test.
func refusal(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	require.ErrorContains(t, err, "ValidatingAdmissionPolicy 'connectedapps-access' with binding 'connectedapps-access' denied request")
	return err.Error()
}

func requireRefused(t *testing.T, err error, says string, args ...any) {
	t.Helper()
	require.Contains(t, refusal(t, err), fmt.Sprintf(says, args...))
}
