// SPDX-License-Identifier: Apache-2.0

package lane_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"connectedapps.dev/operator/internal/controller/lane"
)

func request(server string, n int) reconcile.Request {
	r := reconcile.Request{}
	r.Namespace, r.Name = server, strconv.Itoa(n)
	return r
}

// queue is a controller's queue and its workers, one step at a time. As in a
// workqueue, a request is in it once, and one worker at a time has it.
type queue struct {
	// of are the lanes of a request.
	of      func(reconcile.Request) []lane.Lane
	lanes   lane.Lanes
	pending []reconcile.Request
	working []reconcile.Request
}

func newQueue() *queue {
	q := &queue{of: func(r reconcile.Request) []lane.Lane { return []lane.Lane{lane.Server(r.Namespace)} }}
	q.lanes.Wake = q.add
	return q
}

func (q *queue) add(r reconcile.Request) {
	if !slices.Contains(q.pending, r) {
		q.pending = append(q.pending, r)
	}
}

// take has a worker take the next request that nobody works on, and reports which
// it is, and whether it may be worked on.
func (q *queue) take() (reconcile.Request, bool) {
	i := slices.IndexFunc(q.pending, func(r reconcile.Request) bool { return !slices.Contains(q.working, r) })
	if i < 0 {
		return reconcile.Request{}, false
	}
	next := q.pending[i]
	q.pending = slices.Delete(q.pending, i, i+1)
	if !q.lanes.Enter(next, q.of(next)...) {
		q.lanes.Done(next)
		return next, false
	}
	q.working = append(q.working, next)
	return next, true
}

func (q *queue) finish(i int) {
	done := q.working[i]
	q.working = append(q.working[:i:i], q.working[i+1:]...)
	q.lanes.Done(done)
}

func TestAServerThatHangsHoldsNoMoreThanItsLane(t *testing.T) {
	q := newQueue()
	for n := range 1_000 {
		q.add(request("hangs", n))
	}
	q.add(request("healthy", 0))
	for len(q.pending) > 0 {
		q.take()
	}
	require.Len(t, q.working, lane.Width+1)
	require.Equal(t, request("healthy", 0), q.working[lane.Width], "it is worked on though nothing of the other has ended")
}

// An object that is gone when its turn comes gives the turn to the next.
func TestATurnThatIsNotTakenIsPassedOn(t *testing.T) {
	q := newQueue()
	for n := range lane.Width + 3 {
		q.add(request("server", n))
	}
	for len(q.pending) > 0 {
		q.take()
	}
	q.finish(0)
	require.Equal(t, []reconcile.Request{request("server", lane.Width)}, q.pending)
	q.pending = nil
	q.lanes.Done(request("server", lane.Width)) // not found
	require.Equal(t, []reconcile.Request{request("server", lane.Width+1)}, q.pending)
}

// An object that waited, was deleted and made again for another token server has no
// need of its turn: a lane that keeps it is narrower for all others, for good.
func TestATurnInTheLaneOfAnotherServerIsPassedOn(t *testing.T) {
	q := newQueue()
	for n := range lane.Width + 2 {
		q.add(request("full", n))
	}
	for len(q.pending) > 0 {
		q.take()
	}
	moved, next := request("full", lane.Width), request("full", lane.Width+1)
	q.finish(0)
	require.Equal(t, []reconcile.Request{moved}, q.pending)
	q.pending = nil
	require.True(t, q.lanes.Enter(moved, lane.Server("other")))
	q.lanes.Done(moved)
	require.Equal(t, []reconcile.Request{next}, q.pending)
	q.take()
	for len(q.working) > 0 {
		q.finish(0)
	}
	for n := range lane.Width {
		require.True(t, q.lanes.Enter(request("full", 1000+n), lane.Server("full")), "a place was lost")
	}
}

// A namespace with a long queue takes no more of a server than its share, and
// keeps none of the others from theirs.
func TestANamespaceHoldsNoMoreThanItsShare(t *testing.T) {
	q := newQueue()
	q.of = shares
	for n := range 1_000 {
		q.add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "server/greedy", Name: strconv.Itoa(n)}})
	}
	modest := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "server/modest", Name: "0"}}
	q.add(modest)
	for len(q.pending) > 0 {
		q.take()
	}
	require.Len(t, q.working, share+1)
	require.Equal(t, modest, q.working[share])
}

// What is woken is looked at again once for each lane at most, and not for each
// other that waits: of long queues that is the square.
func TestLongQueuesAreNotLookedAtAgainAndAgain(t *testing.T) {
	q := newQueue()
	q.of = shares
	const each = 500
	for n := range each {
		for _, greedy := range []string{"server/a", "server/b"} {
			q.add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: greedy, Name: strconv.Itoa(n)}})
		}
	}
	looks, ends := 0, 0
	for {
		for len(q.pending) > 0 {
			q.take()
			looks++
		}
		if len(q.working) == 0 {
			break
		}
		q.finish(0)
		if ends++; ends%5 == 0 && ends < 2*each {
			q.add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "server/" + strconv.Itoa(ends), Name: "new"}})
		}
	}
	require.LessOrEqual(t, looks, 3*ends)
}

const share = 3

// shares are the lanes of a request whose namespace names its server and its
// tenant.
func shares(r reconcile.Request) []lane.Lane {
	server, _, _ := strings.Cut(r.Namespace, "/")
	return []lane.Lane{{Name: r.Namespace, Width: share}, {Name: server, Width: 5}}
}

// Whatever comes and ends in whatever order, each request is worked on, no lane
// is wider than it may be, and in the end all places are free.
func TestNobodyWaitsForEver(t *testing.T) {
	for name, of := range map[string]func(reconcile.Request) []lane.Lane{
		"one lane for each server": func(r reconcile.Request) []lane.Lane { return []lane.Lane{{Name: r.Namespace, Width: 4}} },
		"and one for each tenant":  shares,
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { nobodyWaitsForEver(t, of) })
		})
	}
}

func nobodyWaitsForEver(t *rapid.T, of func(reconcile.Request) []lane.Lane) {
	q := newQueue()
	q.of = of
	asked, worked := map[reconcile.Request]bool{}, map[reconcile.Request]bool{}
	step := func(kind int) {
		switch {
		case kind == 0:
			of := rapid.SampledFrom([]string{"a/1", "a/2", "a/3", "b/1", "b/2"}).Draw(t, "whose")
			r := request(of, rapid.IntRange(0, 20).Draw(t, "name"))
			asked[r] = true
			q.add(r)
		case kind == 1 && len(q.pending) > 0:
			if next, ok := q.take(); ok {
				worked[next] = true
			}
		case kind == 2 && len(q.working) > 0:
			q.finish(rapid.IntRange(0, len(q.working)-1).Draw(t, "ends"))
		}
		busy := map[lane.Lane]int{}
		for _, r := range q.working {
			for _, at := range of(r) {
				busy[at]++
				require.LessOrEqual(t, busy[at], at.Width)
			}
		}
	}
	for range rapid.IntRange(0, 400).Draw(t, "steps") {
		step(rapid.SampledFrom([]int{0, 0, 1, 1, 2}).Draw(t, "kind"))
	}
	for n := 0; len(q.pending)+len(q.working) > 0; n++ {
		require.Less(t, n, 100_000, "it goes round and round")
		step(1)
		step(2)
	}
	require.Equal(t, asked, worked)
	for _, at := range of(request("a/1", 0)) {
		for n := range at.Width {
			require.True(t, q.lanes.Enter(request("a/1", 1000+n), at), "a place was lost")
		}
		for n := range at.Width {
			q.lanes.Done(request("a/1", 1000+n))
		}
	}
}
