// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/api/v1alpha1"
	counted "connectedapps.dev/operator/internal/controller/metrics"
	"connectedapps.dev/operator/internal/controller/status"
)

// collectTimeout bounds reading from the cache, which has no server to wait for.
const collectTimeout = 5 * time.Second

// collector counts objects by the state their status shows, at the time of the
// scrape: gauges that are set on the way are wrong after a restart and after a
// deletion. Of several managers the leader alone counts, or sums over them would
// count each object more than once.
type collector struct {
	reader client.Reader
	// elected is closed when this manager is the leader; it ends when it no
	// longer is.
	elected <-chan struct{}

	objects *prometheus.Desc
	drifted *prometheus.Desc
	expires *prometheus.Desc
	// published and pending are of ConnectedApps.
	published *prometheus.Desc
	pending   *prometheus.Desc
	orphans   *prometheus.Desc
}

func registerMetrics(reader client.Reader, elected <-chan struct{}) error {
	c := &collector{
		reader:  reader,
		elected: elected,
		objects: prometheus.NewDesc("connectedapp_objects",
			"Objects by kind and by status and reason of their condition Ready.", []string{"kind", "ready", "reason"}, nil),
		drifted: prometheus.NewDesc("connectedapp_drifted",
			"ConnectedApps that differ from their client on the token server and are left so.", nil, nil),
		expires: prometheus.NewDesc("connectedapp_token_expiration_timestamp_seconds",
			"When the token in the Secret of an AccessToken expires.", []string{"namespace", "name"}, nil),
		published: prometheus.NewDesc("connectedapp_client_secret_published_timestamp_seconds",
			"When the client secret that is in the Secret of a ConnectedApp was published.", []string{"namespace", "name"}, nil),
		pending: prometheus.NewDesc("connectedapp_oldest_pending_timestamp_seconds",
			"Since when the ConnectedApp that waits longest has waited to be worked on or to get through.", []string{"tokenserver"}, nil),
		orphans: prometheus.NewDesc("connectedapp_orphaned_clients",
			"Clients on a token server that ConnectedApps of this cluster made and that have none any more.", []string{"tokenserver"}, nil),
	}
	metrics.Registry.Unregister(c) // a process that runs a second manager, as tests do, reports of that one
	if err := metrics.Registry.Register(c); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return counted.Register()
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.objects
	ch <- c.drifted
	ch <- c.expires
	ch <- c.published
	ch <- c.pending
	ch <- c.orphans
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	select {
	case <-c.elected:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	var servers v1alpha1.TokenServerList
	var apps v1alpha1.ConnectedAppList
	var tokens v1alpha1.AccessTokenList
	for _, list := range []client.ObjectList{&servers, &apps, &tokens} {
		if err := c.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return // the cache has not started
		}
	}
	count := map[[3]string]int{}
	for i := range servers.Items {
		count[state("TokenServer", &servers.Items[i])]++
		if found := servers.Items[i].Status.OrphanedClients; found != nil {
			ch <- prometheus.MustNewConstMetric(c.orphans, prometheus.GaugeValue, float64(found.Count), servers.Items[i].Name)
		}
	}
	drifted := 0
	oldest := map[string]time.Time{}
	for i := range apps.Items {
		app := &apps.Items[i]
		count[state("ConnectedApp", app)]++
		if status.IsTrue(app, v1alpha1.ConditionDrifted) {
			drifted++
		}
		// The others were replaced, in whatever order: one can come back.
		for _, s := range app.Status.Secrets {
			if s.ReplacedAt == nil && s.CreatedAt != nil {
				ch <- prometheus.MustNewConstMetric(c.published, prometheus.GaugeValue, float64(s.CreatedAt.Unix()), app.Namespace, app.Name)
				break
			}
		}
		if since := pendingSince(app); !since.IsZero() {
			if known, ok := oldest[app.TokenServerName()]; !ok || since.Before(known) {
				oldest[app.TokenServerName()] = since
			}
		}
	}
	for server, since := range oldest {
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(since.Unix()), server)
	}
	for i := range tokens.Items {
		count[state("AccessToken", &tokens.Items[i])]++
		if at := tokens.Items[i].Status.ExpiresAt; at != nil {
			ch <- prometheus.MustNewConstMetric(c.expires, prometheus.GaugeValue, float64(at.Unix()), tokens.Items[i].Namespace, tokens.Items[i].Name)
		}
	}
	for labels, n := range count {
		ch <- prometheus.MustNewConstMetric(c.objects, prometheus.GaugeValue, float64(n), labels[:]...)
	}
	ch <- prometheus.MustNewConstMetric(c.drifted, prometheus.GaugeValue, float64(drifted))
}

// pendingSince is since when an app has waited for the manager or its server; zero:
// it does not.
func pendingSince(app *v1alpha1.ConnectedApp) time.Time {
	ready := status.Get(app, v1alpha1.ConditionReady)
	switch {
	case ready == nil && app.Status.ObservedGeneration == app.Generation:
		return time.Time{} // suspended
	case ready == nil:
		return app.CreationTimestamp.Time
	case status.IsTrue(app, v1alpha1.ConditionReconciling) || app.Status.ObservedGeneration != app.Generation:
		return ready.LastTransitionTime.Time
	}
	return time.Time{}
}

func state(kind string, object status.Object) [3]string {
	ready := status.Get(object, v1alpha1.ConditionReady)
	if ready == nil {
		return [3]string{kind, string(metav1.ConditionUnknown), ""}
	}
	return [3]string{kind, string(ready.Status), ready.Reason}
}
