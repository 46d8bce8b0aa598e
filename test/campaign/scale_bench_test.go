// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/test/report"
)

// resync is the interval of the managers that are measured at rest.
const resync = 30 * time.Second

// BenchmarkScale looks at a manager that has many ConnectedApps: what it needs at
// rest, and what a restart of the token server, of the manager, and the end of a
// leader cost. CAMPAIGN_APPS measures one number of apps instead of three.
func BenchmarkScale(b *testing.B) {
	sizes := []int{100, 1000, 10_000}
	if n := number(b, envApps, 0); n > 0 {
		sizes = []int{n}
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				scale(b, n)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// row reports one number, of which less is better; a budget below zero is none.
func row(b *testing.B, name string, value float64, unit string, budget float64) {
	b.Helper()
	goal := report.Without(report.Lower)
	if budget >= 0 {
		goal = report.AtMost(budget)
	}
	report.Add(b, report.Row{Name: name, Value: value, Unit: unit, Goal: goal})
}

func scale(b *testing.B, n int) {
	token := newOurs(b, "", io.Discard)
	token.start(b)
	w := &world{TB: b, server: token, n: n}
	w.makeTokenServer()
	w.namespace = plane.Namespace(b, nil)
	first := w.manager("--resync-interval=1h")
	w.waitForServer()
	report.Progress(b, "bringing %d apps to Ready", n)
	w.createMore(0, n)
	w.waitReady(n)
	row(b, "memory after registering all", w.memory(first), "MiB", -1)

	report.Progress(b, "restarting the token server under %d apps", n)
	before := w.read(first)
	token.kill()
	testenv.EventuallyWithin(b, patience, func(r *require.Assertions) { r.False(status.IsReady(w.tokenServer(r))) })
	token.start(b)
	w.waitForServer()
	w.quiet(first)
	row(b, "writes to ConnectedApps when the token server restarts", w.read(first).apps-before.apps, "", 0)

	w.foreignSecrets(10_000)
	row(b, "memory beside 10,000 Secrets of others", w.memory(first), "MiB", -1)

	report.Progress(b, "restarting the manager of %d apps", n)
	before = w.read(first)
	first.kill()
	second := w.manager("--resync-interval="+resync.String(), "--probe-interval=1m", "--leader-elect")
	began := time.Now()
	w.waitForLeader(second)
	w.quiet(second)
	after := w.read(second)
	row(b, "restart of the manager, until it rests", time.Since(began).Seconds(), "s", -1)
	row(b, "writes to ConnectedApps when the manager restarts", after.apps-before.apps, "", 0)
	row(b, "calls to the management API for 100 apps when it restarts", (after.calls-before.calls)*100/float64(n), "", -1)
	row(b, "CPU for each app when it restarts", after.cpu*1000/float64(n), "ms", -1)

	report.Progress(b, "watching a manager of %d apps at rest", n)
	before = w.read(second)
	time.Sleep(2 * resync) // a benchmark of what happens as time goes by
	after = w.read(second)
	row(b, "API writes of a resync that finds nothing", (after.writes-before.writes)/2, "", 0)
	row(b, "calls to the management API for 100 apps of such a resync", (after.calls-before.calls)*100/float64(n)/2, "", 1)
	row(b, "CPU for each app of such a resync", (after.cpu-before.cpu)*1000/float64(n)/2, "ms", -1)
	row(b, "memory at rest", w.memory(second), "MiB", 150)

	third := w.manager("--resync-interval=1h", "--leader-elect")
	more := max(n/10, 10)
	report.Progress(b, "creating %d more apps", more)
	var created sync.WaitGroup
	created.Go(func() { w.createMore(n, more) })
	w.waitSome(n + more/3)
	second.kill()
	began = time.Now()
	created.Wait()
	w.waitReady(n + more)
	row(b, "leader killed while a tenth more are created, until all are Ready", time.Since(began).Seconds(), "s", -1)
	row(b, "clients that this made twice", w.clients()-float64(n+more), "", 0)

	w.n = n + more
	report.Progress(b, "deleting %d apps", w.n)
	row(b, "clients left behind by the deletion", w.deleteAll(), "", 0)
	third.terminate()
	token.kill()
}

// manager starts one.
func (w *world) manager(args ...string) *process {
	return startManagerWith(w, io.Discard, kubeconfigOf(plane.Config), append([]string{"--log-level=info", "--probe-interval=5s"}, args...)...)
}

func (w *world) tokenServer(r *require.Assertions) *v1alpha1.TokenServer {
	server := &v1alpha1.TokenServer{}
	r.NoError(plane.Client.Get(w.Context(), client.ObjectKey{Name: w.name}, server))
	return server
}

func (w *world) waitForServer() {
	testenv.EventuallyWithin(w, patience, func(r *require.Assertions) { r.True(status.IsReady(w.tokenServer(r))) })
}

// waitForLeader waits until a manager works, which the metrics of a leader show.
func (w *world) waitForLeader(manager *process) {
	testenv.EventuallyWithin(w, patience, func(r *require.Assertions) {
		r.NotEmpty(samples(fetch(w, manager.metrics), "connectedapp_objects"))
	})
}

// createMore creates apps that are numbered from a number on.
func (w *world) createMore(from, n int) {
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for i := range numbers {
				app := testenv.App(w.namespace, w.name)
				app.Name = fmt.Sprintf("app-%05d", i)
				if err := plane.Client.Create(w.Context(), app); err != nil {
					w.Error(err)
				}
			}
		})
	}
	for i := range n {
		numbers <- from + i
	}
	close(numbers)
	workers.Wait()
}

// waitReady waits until so many apps are Ready, and all there are.
func (w *world) waitReady(n int) { w.waitFor(n, true) }

// waitSome waits until so many apps are Ready.
func (w *world) waitSome(n int) { w.waitFor(n, false) }

func (w *world) waitFor(n int, all bool) {
	testenv.EventuallyWithin(w, w.patience(), func(r *require.Assertions) {
		var apps v1alpha1.ConnectedAppList
		r.NoError(plane.Client.List(w.Context(), &apps, client.InNamespace(w.namespace)))
		ready := 0
		for i := range apps.Items {
			if status.IsReady(&apps.Items[i]) {
				ready++
			}
		}
		r.GreaterOrEqual(ready, n)
		if all {
			r.Equal(len(apps.Items), ready)
		}
	})
}

// patience is how long something may take that is done for each app.
func (w *world) patience() time.Duration { return patience + time.Duration(w.n)*time.Second/2 }

// quiet waits until a manager asks nothing and writes nothing for a while.
func (w *world) quiet(manager *process) {
	const still = 5 * time.Second
	last, since := w.read(manager), time.Now()
	for time.Since(since) < still {
		time.Sleep(still / 10)
		if now := w.read(manager); now.calls != last.calls || now.writes != last.writes {
			last, since = now, time.Now()
		}
	}
}

// memory is what a manager holds, in MiB.
func (w *world) memory(manager *process) float64 {
	return samples(fetch(w, manager.metrics), "process_resident_memory_bytes")[0].value / (1 << 20)
}

// clients is the number of clients on the token server.
func (w *world) clients() float64 {
	id, secret := w.server.credentials()
	admin, err := registrar.New(registrar.Config{URL: w.server.public, ClientID: id, ClientSecret: secret})
	require.NoError(w, err)
	page, err := admin.List(w.Context(), 0, 1)
	require.NoError(w, err)
	return float64(page.Total)
}

// foreignSecrets makes Secrets that are none of the manager's business.
func (w *world) foreignSecrets(n int) {
	namespace := plane.Namespace(w, nil)
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for i := range numbers {
				err := plane.Client.Create(w.Context(), &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("foreign-%05d", i)},
					Data:       map[string][]byte{"content": make([]byte, 4096)},
				})
				if err != nil {
					w.Error(err)
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
}
