// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/rollout"
)

// annotate is what somebody with the right to edit a workload writes on it.
func (w *world) annotate(ref v1alpha1.WorkloadReference, annotations map[string]string) error {
	w.Helper()
	o := w.read(ref)
	before := o.DeepCopy()
	all := o.GetAnnotations()
	for key, value := range annotations {
		all[key] = value
	}
	o.SetAnnotations(all)
	return plane.Client.Patch(w.Context(), o, client.MergeFrom(before), client.FieldOwner("tenant"))
}

// Two that take themselves for the leader, of which one has a clock that is ahead.
func TestTwoManagersMakeOneRollOut(t *testing.T) {
	w := restarting(t)
	ref := w.make(v1alpha1.WorkloadDeployment, "web")
	w.look("app-a", "1", 0, ref)
	w.look("app-a", "2", time.Hour, ref)
	var rollOuts atomic.Int64
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			other := &rollout.Restarter{Client: w.user, Live: w.user}
			seen := rollout.Content{Name: "app-a", Digest: "2"}
			at := start.Add(time.Hour + settle + time.Duration(i%2)*time.Minute)
			for try := 0; try < 20; try++ {
				o := other.Restart(t.Context(), w.namespace, []v1alpha1.WorkloadReference{ref}, seen, at)
				rollOuts.Add(int64(len(o.Restarted)))
				if o.Failure == nil {
					return
				}
			}
			t.Error("refused again and again")
		})
	}
	group.Wait()
	require.EqualValues(t, 1, rollOuts.Load())
}

// What a tenant notes on a workload of its own is about that workload alone, and
// makes nobody restart it.
func TestNotesOfATenantRestartNothing(t *testing.T) {
	w, victim := restarting(t), v1alpha1.WorkloadReference{Kind: v1alpha1.WorkloadDeployment, Name: "web"}
	other := &world{T: t, namespace: plane.Namespace(t, nil), user: w.user, restarter: w.restarter}
	other.make(victim.Kind, victim.Name)
	untouchedVersion := other.read(victim).GetResourceVersion()

	ref := w.make(victim.Kind, victim.Name)
	w.look("app-a", "1", 0, ref)
	require.NoError(t, w.annotate(ref, map[string]string{
		"restart.connectedapps.dev/token-made-up":               "a b",
		"restart.connectedapps.dev/at":                          "0001-01-01T00:00:00Z",
		"restart.connectedapps.dev/" + other.namespace + "_web": "a b",
	}))
	w.requireUpToDate(w.look("app-a", "1", time.Hour, ref))
	require.Equal(t, untouched, w.template(ref), "a change of an object that is not there waits for ever")
	require.Equal(t, untouchedVersion, other.read(victim).GetResourceVersion(), "nothing reaches another namespace")

	// One of its own content is followed, at the pace of any other.
	require.NoError(t, w.annotate(ref, map[string]string{"restart.connectedapps.dev/app-a": "0 1", "restart.connectedapps.dev/at": "9999-12-31T00:00:00Z"}))
	w.requireFalse(w.look("app-a", "1", 2*time.Hour, ref), v1alpha1.ReasonRestartPending, "", window)
	w.requireUpToDate(w.look("app-a", "1", 2*time.Hour+window, ref), "Deployment web")
	w.requireUpToDate(w.look("app-a", "1", 3*time.Hour, ref))
}

// A workload with as many annotations as one may have is refused in words, and the
// next one is looked at.
func TestAWorkloadThatIsFullIsNamed(t *testing.T) {
	w := restarting(t)
	full, next := w.make(v1alpha1.WorkloadDeployment, "full"), w.make(v1alpha1.WorkloadDeployment, "next")
	require.NoError(t, w.annotate(full, map[string]string{"example.com/junk": strings.Repeat("x", 256<<10-50)}))
	o := w.look("app-a", strings.Repeat("1", 32), 0, full, next)
	w.requireFalse(o, v1alpha1.ReasonRestartRefused, "the API server refuses the annotations of Deployment full", 5*time.Minute)
	require.Contains(t, fmt.Sprint(w.read(next).GetAnnotations()), "restart.connectedapps.dev/app-a")
}

// A webhook of a tenant may take as long as it likes.
func TestAWorkloadThatHangsLeavesTimeToTheNext(t *testing.T) {
	w := restarting(t)
	hangs, next := w.make(v1alpha1.WorkloadDeployment, "hangs"), w.make(v1alpha1.WorkloadDeployment, "next")
	w.restarter.Live = interceptor.NewClient(w.user, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if key.Name == hangs.Name {
				<-ctx.Done()
				return ctx.Err()
			}
			return c.Get(ctx, key, o, options...)
		},
	})
	// Whatever is left of a pass is halved; this one has little, to be quick.
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	o := w.restarter.Restart(ctx, w.namespace, []v1alpha1.WorkloadReference{hangs, next}, rollout.Content{Name: "app-a", Digest: "1"}, start)
	require.ErrorIs(t, o.Failure, context.DeadlineExceeded)
	require.Equal(t, "1", w.read(next).GetAnnotations()["restart.connectedapps.dev/app-a"])
}
