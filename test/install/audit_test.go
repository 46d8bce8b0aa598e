// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const managerUser = "system:serviceaccount:connectedapps-system:connectedapps-manager"

const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ["` + managerUser + `"]}
- {level: None}
`

// writeAudit makes the API server write down what the manager's ServiceAccount
// asks of it.
func writeAudit(environment *envtest.Environment, dir string) error {
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	auditLog = filepath.Join(dir, "audit.log")
	environment.ControlPlane.GetAPIServer().Configure().
		Set("audit-policy-file", policy).Set("audit-log-path", auditLog).Set("audit-log-mode", "blocking")
	return nil
}

// right is a verb on a resource: one that was used, in one namespace, or one
// that a role grants.
type right struct {
	// group/resource/subresource.
	resource string
	verb     string
	// name is of the only object it is for; empty: any.
	name string
	// namespace is where; empty: in the cluster as a whole.
	namespace string
}

func (r right) String() string {
	s := r.verb + " " + r.resource
	if r.name != "" {
		s += " " + r.name
	}
	if r.namespace != "" {
		s += " in " + r.namespace
	}
	return s
}

// covers tells whether who has r may do what other is.
func (r right) covers(other right) bool {
	return r.resource == other.resource && r.verb == other.verb &&
		(r.name == "" || r.name == other.name) && (r.namespace == "" || r.namespace == other.namespace)
}

// usedRights reads from the audit log what the manager did after the given
// number of bytes, and what it was refused.
func usedRights(t *testing.T, after int64) (used, refused map[right]bool) {
	t.Helper()
	file, err := os.Open(auditLog)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	_, err = file.Seek(after, 0)
	require.NoError(t, err)
	used, refused = map[right]bool{}, map[right]bool{}
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return used, refused // what is left is being written
		}
		require.NoError(t, err)
		var event struct {
			Verb        string
			ObjectRef   *struct{ APIGroup, Resource, Subresource, Namespace, Name string }
			Annotations map[string]string
		}
		require.NoError(t, json.Unmarshal(line, &event))
		ref := event.ObjectRef
		if ref == nil || strings.Contains(event.Annotations["authorization.k8s.io/reason"], `"system:`) {
			continue // discovery, and what everybody may ask about themselves
		}
		r := right{resource: resource(ref.APIGroup, ref.Resource, ref.Subresource), verb: event.Verb, name: ref.Name, namespace: ref.Namespace}
		if ref.Resource == "namespaces" {
			r.namespace = "" // a namespace is in itself, for the API server
		}
		if event.Annotations["authorization.k8s.io/decision"] == "allow" {
			used[r] = true
		} else {
			refused[r] = true
		}
	}
}

func auditSize(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(auditLog)
	require.NoError(t, err)
	return info.Size()
}

func resource(group, name, sub string) string {
	if sub != "" {
		name += "/" + sub
	}
	return fmt.Sprintf("%s/%s", group, name)
}
