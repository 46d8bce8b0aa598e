// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/testenv"
)

// appTeam are the rights of the role edit in a namespace, with ours that are added
// to it; no controller adds them up here.
var appTeam = []string{"system:aggregate-to-view", "system:aggregate-to-edit", "connectedapps-aggregate-to-view", "connectedapps-aggregate-to-edit"}

// as is the plugin in the hands of somebody who has roles in the namespace alone.
func (s *site) as(t *testing.T, name string, roles ...string) *site {
	t.Helper()
	plane.Kubectl(t).Run(t, "", "apply", "-f", filepath.Join(testenv.ModuleRoot(), "config", "rbac", "user_roles.yaml"))
	name += "-" + s.Namespace
	for _, role := range roles {
		plane.Create(t, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, GenerateName: "test-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		})
	}
	return s.user(t, name)
}

// platformTeam is the plugin in the hands of those who have a role in the cluster.
func (s *site) platformTeam(t *testing.T, roles ...string) *site {
	t.Helper()
	plane.Kubectl(t).Run(t, "", "apply", "-f", filepath.Join(testenv.ModuleRoot(), "config", "rbac", "user_roles.yaml"))
	name := "platform-" + s.Namespace
	for _, role := range append(roles, "connectedapps-platform-admin") {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		}
		plane.Create(t, binding)
	}
	return s.user(t, name)
}

func (s *site) user(t *testing.T, name string) *site {
	t.Helper()
	config := rest.CopyConfig(plane.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	as, err := client.New(config, client.Options{Scheme: plane.Scheme})
	require.NoError(t, err)
	user := &site{out: &bytes.Buffer{}, said: &bytes.Buffer{}}
	user.Plugin = &Plugin{Client: as, Namespace: s.Namespace, Out: user.out, Err: user.said}
	return user
}
