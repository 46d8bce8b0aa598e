// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// managerUser is bound to the generated roles and nothing else.
const managerUser = "manager"

// bindRoles creates the roles of config/rbac/role.yaml and binds managerUser to
// them.
func bindRoles(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "config", "rbac", "role.yaml"))
	require.NoError(t, err)
	subject := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: managerUser}}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		role := &unstructured.Unstructured{}
		if err := decoder.Decode(&role.Object); errors.Is(err, io.EOF) {
			return
		} else {
			require.NoError(t, err)
		}
		plane.Create(t, role)
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: role.GetKind(), Name: role.GetName()}
		meta := metav1.ObjectMeta{Namespace: role.GetNamespace(), Name: "test"}
		if role.GetKind() == "ClusterRole" {
			plane.Create(t, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subject, RoleRef: ref})
		} else {
			plane.Create(t, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subject, RoleRef: ref})
		}
	}
}

// The generated roles are enough for everything the controllers do.
func TestTheGeneratedRolesSuffice(t *testing.T) {
	bindRoles(t)
	instance := tokenservertest.Start(t)
	server := plane.TokenServer(t, instance)
	namespace := plane.Namespace(t, nil)
	plane.StartManager(t, testenv.WithUser(managerUser))

	app := plane.CreateApp(t, testenv.App(namespace, server.Name))
	token := &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "token"},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: "app"}},
	}
	plane.Create(t, token)
	for _, o := range []status.Object{server, app, token} {
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o))
			c.True(status.IsReady(o), "%T: %+v", o, *o.GetConditions())
		})
	}

	// An edit that gives the Secret another type makes all kinds of writes.
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
		app.Spec.Credentials = &v1alpha1.Credentials{
			Type:   v1alpha1.CredentialsSecret,
			Secret: &v1alpha1.CredentialsSecretSpec{Preset: v1alpha1.PresetServiceBinding},
		}
		c.NoError(plane.Client.Update(t.Context(), app))
	})
	secret := &corev1.Secret{}
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "app-credentials"}, secret))
		c.Equal("servicebinding.io/oauth2", string(secret.Type))
	})
	secret.Data["token-url"] = []byte("edited")
	require.NoError(t, plane.Client.Update(t.Context(), secret))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret))
		c.NotEqual("edited", string(secret.Data["token-url"]))
	})

	for _, o := range []status.Object{token, app, server} {
		require.NoError(t, plane.Client.Delete(t.Context(), o))
		testenv.Eventually(t, func(c *require.Assertions) {
			c.True(apierrors.IsNotFound(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o)), "%T is still there", o)
		})
	}
}

func TestMetricsCountObjectsByState(t *testing.T) {
	instance := tokenservertest.Start(t)
	server := plane.TokenServer(t, instance)
	namespace := plane.Namespace(t, nil)
	plane.StartManager(t)
	app := plane.CreateApp(t, testenv.App(namespace, server.Name))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
		c.True(status.IsReady(app))
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		families, err := metrics.Registry.Gather()
		c.NoError(err)
		ready := 0.0
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				if family.GetName() == "connectedapp_objects" && metric.GetLabel()[0].GetValue() == "ConnectedApp" {
					ready = metric.GetGauge().GetValue()
				}
			}
		}
		c.InDelta(1, ready, 0)
	})
}
