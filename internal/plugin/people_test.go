// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"path/filepath"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/testenv"
)

// member is the plugin in the hands of somebody who has the role edit in the
// namespace alone, which no controller adds up here.
func (s *site) member(t *testing.T) *site {
	t.Helper()
	return s.user((&team{site: s}).as(t, "member",
		"system:aggregate-to-view", "system:aggregate-to-edit", "connectedapps-aggregate-to-view", "connectedapps-aggregate-to-edit"))
}

// platform is the plugin in the hands of those who have a role in the cluster.
func (s *site) platform(t *testing.T, roles ...string) *site {
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
	return s.user(clientAs(t, name))
}

func (s *site) user(as client.Client) *site {
	user := &site{out: &bytes.Buffer{}, said: &bytes.Buffer{}}
	user.Plugin = &Plugin{Client: as, Namespace: s.Namespace, Out: user.out, Err: user.said}
	return user
}
