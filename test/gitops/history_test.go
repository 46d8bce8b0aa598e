// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

// history notes the newest generation of each object that somebody who watches it
// ever saw as Current.
type history struct {
	mu   sync.Mutex
	seen map[string]int64
}

// follow watches the objects of a namespace, and a TokenServer, until the test
// ends.
func (h *history) follow(t *testing.T, namespace, server string) {
	t.Helper()
	h.seen = map[string]int64{}
	for _, list := range []client.ObjectList{&v1alpha1.TokenServerList{}, &v1alpha1.ConnectedAppList{}, &v1alpha1.AccessTokenList{}} {
		watcher, err := plane.Client.Watch(t.Context(), list)
		require.NoError(t, err)
		var done sync.WaitGroup
		done.Go(func() {
			for event := range watcher.ResultChan() {
				if o, ok := event.Object.(client.Object); ok && (o.GetNamespace() == namespace || o.GetName() == server) {
					h.note(t, o)
				}
			}
		})
		t.Cleanup(func() {
			watcher.Stop()
			done.Wait()
		})
	}
}

func (h *history) note(t *testing.T, o client.Object) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if testenv.KStatus(t, o) == kstatus.CurrentStatus {
		h.seen[reference(o)] = max(h.seen[reference(o)], o.GetGeneration())
	}
}

func (h *history) current(o client.Object) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[reference(o)]
}
