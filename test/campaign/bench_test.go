// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/test/report"
)

// concurrency is how many objects the one client creates at a time.
const concurrency = 16

// BenchmarkOperator brings ConnectedApps from apply to Ready with the real
// manager and the real token server. It compares that with what the API server
// needs to take them, and with a bare client that makes the manager's requests
// and nothing else: how fast the machine is does not matter.
func BenchmarkOperator(b *testing.B) {
	for b.Loop() {
		measure(b, number(b, envApps, 1000))
	}
	b.ReportMetric(0, "ns/op")
}

func measure(b *testing.B, n int) {
	token := newOurs(b, "", io.Discard)
	token.start(b)
	c := &world{TB: b, server: token, n: n}
	c.makeTokenServer()
	report.Progress(b, "creating %d apps, and bringing them to Ready with a bare client", n)
	alone := c.create(false)
	bare, bareCPU := c.imitate()

	manager := startManagerWith(b, io.Discard, kubeconfigOf(plane.Config), "--log-level=info", "--probe-interval=1m")
	testenv.Eventually(b, func(r *require.Assertions) {
		var server v1alpha1.TokenServer
		r.NoError(plane.Client.Get(b.Context(), client.ObjectKey{Name: c.name}, &server))
		r.True(status.IsReady(&server))
	})
	report.Progress(b, "bringing %d apps to Ready with the manager", n)
	before := c.read(manager)
	together := c.create(true)
	after := c.read(manager)
	perApp := func(total float64) float64 { return total / float64(n) }
	// Budgets against the bare client are our own.
	row(b, "Ready, to what one client needs to create them", together.Seconds()/alone.Seconds(), "", 1.5)
	row(b, "Ready, to the bare client", together.Seconds()/bare.Seconds(), "", 1.5)
	row(b, "API writes for each app", perApp(after.writes-before.writes-1)-1, "", 4) // without the client's own, and the namespace
	row(b, "Events for each app", perApp(after.events-before.events), "", 1)
	row(b, "calls to the management API for each app", perApp(after.calls-before.calls), "", 2)
	row(b, "CPU of the manager for each app", perApp(after.cpu-before.cpu)*1000, "ms", 3)
	row(b, "the same, to the bare client", (after.cpu-before.cpu)/bareCPU, "", 1.5)
	report.Progress(b, "deleting %d apps", n)
	row(b, "clients left behind by the deletion", c.deleteAll(), "", 0)
	manager.terminate()
	token.kill()
	b.Logf("%d apps: created in %s, with the manager's requests by a bare client in %s and %.1f ms of CPU each, Ready in %s",
		n, alone.Round(time.Millisecond), bare.Round(time.Millisecond), perApp(bareCPU)*1000, together.Round(time.Millisecond))
}

// world is a token server and the namespaces of one measurement.
type world struct {
	testing.TB
	server    *ours
	name      string
	namespace string
	n         int
}

func (w *world) makeTokenServer() {
	w.name = plane.Namespace(w, nil)
	id, secret := w.server.credentials()
	makeTokenServer(w, w.name, w.server.public, id, secret, func(*v1alpha1.TokenServer) {})
}

// create creates the apps in a namespace of their own and returns how long that
// took, with ready until all are Ready. Those that nobody looks after go again.
func (w *world) create(ready bool) time.Duration {
	w.namespace = plane.Namespace(w, nil)
	allReady := make(chan struct{})
	if ready {
		go w.watch(allReady)
	}
	began := time.Now()
	w.each(func(*v1alpha1.ConnectedApp) error { return nil })
	if !ready {
		took := time.Since(began)
		require.NoError(w, plane.Client.DeleteAllOf(w.Context(), &v1alpha1.ConnectedApp{}, client.InNamespace(w.namespace)))
		return took
	}
	select {
	case <-allReady:
	case <-time.After(2 * patience):
		w.requireReady()
	}
	return time.Since(began)
}

// each creates the apps, and does something with each of them.
func (w *world) each(then func(*v1alpha1.ConnectedApp) error) {
	names := make(chan int)
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for i := range names {
				app := testenv.App(w.namespace, w.name)
				app.Name = appName(i)
				err := plane.Client.Create(w.Context(), app)
				if err == nil {
					err = then(app)
				}
				if err != nil {
					w.Error(err)
				}
			}
		})
	}
	for i := range w.n {
		names <- i
	}
	close(names)
	workers.Wait()
}

// requireReady says which apps are not.
func (w *world) requireReady() {
	var apps v1alpha1.ConnectedAppList
	require.NoError(w, plane.Client.List(w.Context(), &apps, client.InNamespace(w.namespace)))
	bad := map[string]string{}
	for i := range apps.Items {
		if !status.IsReady(&apps.Items[i]) {
			ready := testenv.Condition(apps.Items[i].Status.Conditions, v1alpha1.ConditionReady)
			bad[apps.Items[i].Name] = ready.Reason + ": " + ready.Message
		}
	}
	require.Empty(w, bad)
	require.Len(w, apps.Items, w.n)
	w.Fatal("all are Ready, and it took too long")
}

// watch closes done when all apps are Ready.
func (w *world) watch(done chan<- struct{}) {
	watcher, err := plane.Client.Watch(w.Context(), &v1alpha1.ConnectedAppList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.Error(err)
		return
	}
	defer watcher.Stop()
	ready := map[string]bool{}
	for event := range watcher.ResultChan() {
		if app, ok := event.Object.(*v1alpha1.ConnectedApp); ok && status.IsReady(app) {
			ready[app.Name] = true
		}
		if len(ready) == w.n {
			close(done)
			return
		}
	}
}

// deleteAll deletes the apps and returns how many clients outlive them. The API
// server gives up on a deletion of thousands after a minute.
func (w *world) deleteAll() float64 {
	testenv.EventuallyWithin(w, w.patience(), func(r *require.Assertions) {
		r.NoError(plane.Client.DeleteAllOf(w.Context(), &v1alpha1.ConnectedApp{}, client.InNamespace(w.namespace)))
	})
	testenv.EventuallyWithin(w, w.patience(), func(r *require.Assertions) {
		var apps v1alpha1.ConnectedAppList
		r.NoError(plane.Client.List(w.Context(), &apps, client.InNamespace(w.namespace)))
		r.Empty(apps.Items)
	})
	return w.clients()
}

// counters are what is counted by others than the manager, but for its CPU time
// in seconds.
//
// writes are those to the API server, but for leases and Events; apps are those
// to ConnectedApps.
type counters struct{ writes, apps, events, calls, cpu float64 }

func (w *world) read(manager *process) counters {
	var c counters
	transport, err := rest.TransportFor(plane.Config)
	require.NoError(w, err)
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, strings.TrimSuffix(plane.Config.Host, "/")+"/metrics", nil)
	require.NoError(w, err)
	response, err := transport.RoundTrip(request)
	require.NoError(w, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(w, err)
	require.Equal(w, http.StatusOK, response.StatusCode, string(text))
	for _, s := range samples(text, "apiserver_request_total") {
		switch {
		case !slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, s.labels["verb"]), s.labels["resource"] == "leases":
		case s.labels["resource"] == "events":
			c.events += s.value
		default:
			c.writes += s.value
			if s.labels["resource"] == "connectedapps" {
				c.apps += s.value
			}
		}
	}
	for _, s := range samples(fetch(w, w.server.metrics()), "tokenserver_http_request_duration_seconds_count") {
		if strings.Contains(s.labels["route"], "/connectedApplications") {
			c.calls += s.value
		}
	}
	for _, s := range samples(fetch(w, manager.metrics), "process_cpu_seconds_total") {
		c.cpu += s.value
	}
	return c
}

// sample is a line of metrics in the text format of Prometheus.
type sample struct {
	labels map[string]string
	value  float64
}

var label = regexp.MustCompile(`(\w+)="([^"]*)"`)

func samples(text []byte, name string) []sample {
	var all []sample
	for line := range bytes.Lines(text) {
		rest, ok := strings.CutPrefix(string(line), name)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		s := sample{labels: map[string]string{}}
		for _, pair := range label.FindAllStringSubmatch(rest, -1) {
			s.labels[pair[1]] = pair[2]
		}
		fields := strings.Fields(rest)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			panic(fmt.Sprintf("reading the metric %s: %v", name, err))
		}
		s.value = value
		all = append(all, s)
	}
	return all
}
