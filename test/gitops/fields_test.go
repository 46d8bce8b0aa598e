// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// team is a namespace with an app and a token that kubectl applied, all Ready, in
// parallel with other tests.
type team struct {
	*testing.T
	kubectl   *testenv.Kubectl
	namespace string
	server    *v1alpha1.TokenServer
	app       *v1alpha1.ConnectedApp
	token     *v1alpha1.AccessToken
}

func newTeam(t *testing.T, change ...func(*v1alpha1.ConnectedApp, *v1alpha1.AccessToken)) *team {
	t.Helper()
	t.Parallel()
	plane.ShareManager(t)
	s := &team{T: t, kubectl: plane.Kubectl(t), namespace: plane.Namespace(t, nil)}
	s.server = plane.TokenServer(t, tokenservertest.Start(t))
	s.app = testenv.App(s.namespace, s.server.Name)
	s.app.Spec.ClientName = "Web"
	s.token = &v1alpha1.AccessToken{}
	s.token.Namespace, s.token.Name = s.namespace, "token"
	s.token.Spec.ConnectedAppRef.Name = s.app.Name
	for _, f := range change {
		f(s.app, s.token)
	}
	s.kubectl.Run(t, manifests(t, s.app, s.token), "apply", "--server-side", "-f", "-")
	s.read()
	return s
}

// read reads the objects, as soon as they are Ready.
func (s *team) read() {
	s.Helper()
	for _, o := range []status.Object{s.server, s.app, s.token} {
		testenv.Eventually(s, func(c *require.Assertions) {
			c.NoError(plane.Client.Get(s.Context(), client.ObjectKeyFromObject(o), o))
			c.True(status.IsReady(o), "%s: %+v", reference(o), *o.GetConditions())
		})
	}
}

// secrets are those of the namespace.
func (s *team) secrets() []corev1.Secret {
	s.Helper()
	var list corev1.SecretList
	require.NoError(s, plane.Client.List(s.Context(), &list, client.InNamespace(s.namespace)))
	return list.Items
}

// TestTheManagerOwnsNothingOfASpec: whatever is in a repository is the user's alone.
func TestTheManagerOwnsNothingOfASpec(t *testing.T) {
	s := newTeam(t)
	for o, manager := range map[client.Object]string{
		s.server: "connectedapps-tokenserver", s.app: "connectedapps-connectedapp", s.token: "connectedapps-accesstoken",
	} {
		var ours []string
		for _, entry := range o.GetManagedFields() {
			if entry.Manager == "kubectl" || strings.HasSuffix(entry.Manager, ".test") && entry.Subresource == "" && o == s.server {
				continue // who made it
			}
			require.Equal(t, manager, entry.Manager, "%s: %s", reference(o), entry.FieldsV1.GetRawString())
			ours = append(ours, fields(t, entry.FieldsV1.GetRawBytes())...)
		}
		slices.Sort(ours)
		require.Equal(t, []string{"f:metadata.f:finalizers", "f:status"}, slices.Compact(ours), reference(o))
	}
}

// fields are the fields of the first level, and those of the metadata.
func fields(t *testing.T, raw []byte) []string {
	t.Helper()
	var tree, metadata map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &tree))
	var list []string
	for name := range tree {
		if name != "f:metadata" {
			list = append(list, name)
		}
	}
	if tree["f:metadata"] != nil {
		require.NoError(t, json.Unmarshal(tree["f:metadata"], &metadata))
	}
	for name := range metadata {
		list = append(list, "f:metadata."+name)
	}
	return list
}

// TestAConflictNamesTheOther: two that want one field differently are told so by
// the API server, and the manager is none of them.
func TestAConflictNamesTheOther(t *testing.T) {
	s := newTeam(t)
	other := testenv.App(s.namespace, s.server.Name)
	other.Spec.ClientName = "Another"
	apply := []string{"apply", "--server-side", "--field-manager=another-tool", "-f", "-"}
	_, stderr, err := s.kubectl.Try(t, manifests(t, other), apply...)
	require.Error(t, err)
	require.Contains(t, stderr, `conflict with "kubectl"`)
	require.Contains(t, stderr, ".spec.clientName")
	s.read()
	require.Equal(t, "Web", s.app.Spec.ClientName)

	// As docs/gitops.md says: take the field over.
	s.kubectl.Run(t, manifests(t, other), append(apply, "--force-conflicts")...)
	s.read()
	require.Equal(t, "Another", s.app.Spec.ClientName)
}

// TestASecretTellsWhoseItIs: who applies a key of ours into a Secret of ours is
// refused, and told by whom it is written.
func TestASecretTellsWhoseItIs(t *testing.T) {
	s := newTeam(t)
	for name, manager := range map[string]string{"app-credentials": "connectedapps-connectedapp", "token-token": "connectedapps-accesstoken"} {
		key := map[string]string{"app-credentials": "client-id", "token-token": "access-token"}[name]
		mine := &corev1.Secret{}
		mine.Namespace, mine.Name, mine.Data = s.namespace, name, map[string][]byte{key: []byte("mine")}
		_, stderr, err := s.kubectl.Try(t, manifests(t, mine), "apply", "--server-side", "-f", "-")
		require.Error(t, err)
		require.Contains(t, stderr, `conflict with "`+manager+`"`)
		require.Contains(t, stderr, ".data."+key)
	}
}
