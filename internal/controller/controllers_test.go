// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/metricspage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

func TestMetricsCountObjectsByState(t *testing.T) {
	instance := tokenservertest.Start(t)
	server := plane.TokenServer(t, instance)
	namespace := plane.Namespace(t, nil)
	plane.StartManager(t)
	app := plane.CreateApp(t, testenv.App(namespace, server.Name))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
		c.True(status.IsReady(app))
	})
	waiting := plane.CreateApp(t, testenv.App(namespace, server.Name, func(a *v1alpha1.ConnectedApp) {
		a.Name = "waiting"
		a.Spec.Credentials = &v1alpha1.Credentials{
			Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "later"},
		}
	}))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.InDelta(1, value(t, "connectedapp_objects", "ConnectedApp", "True", "Ready"), 0)
		c.InDelta(1, value(t, "connectedapp_objects", "ConnectedApp", "False", "WaitingForSecret"), 0)
		c.InDelta(app.Status.Secrets[0].CreatedAt.Unix(), value(t, "connectedapp_client_secret_published_timestamp_seconds", app.Name, namespace), 0)
		c.InDelta(waiting.CreationTimestamp.Unix(), value(t, "connectedapp_oldest_pending_timestamp_seconds", server.Name), 60)
		c.InDelta(1, value(t, "connectedapp_actions_total", "register", "done", server.Name), 0)
		c.Positive(value(t, "connectedapp_management_call_duration_seconds", "ok", server.Name))
	})
}

// TestTheMetricsPageOfTheOperatorAgreesWithTheRegistry has one of each thing that is
// counted.
func TestTheMetricsPageOfTheOperatorAgreesWithTheRegistry(t *testing.T) {
	server := plane.TokenServer(t, tokenservertest.Start(t))
	namespace := plane.Namespace(t, nil)
	plane.Create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: "remembered", Labels: map[string]string{v1alpha1.LabelTombstone: "true"}},
		Data:       map[string]string{"tokenServer": "gone"},
	})
	plane.StartManager(t)
	app := plane.CreateApp(t, testenv.App(namespace, server.Name))
	plane.Create(t, &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "token"},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: app.Name}},
	})
	plane.CreateApp(t, testenv.App(namespace, server.Name, func(a *v1alpha1.ConnectedApp) {
		a.Name = "waiting"
		a.Spec.Credentials = &v1alpha1.Credentials{
			Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "later"},
		}
	}))
	testenv.Eventually(t, func(c *require.Assertions) {
		families, err := metrics.Registry.Gather()
		c.NoError(err)
		var names []string
		for _, family := range families {
			names = append(names, family.GetName())
		}
		c.Subset(names, []string{
			"connectedapp_token_expiration_timestamp_seconds", "connectedapp_oldest_pending_timestamp_seconds",
			"connectedapp_client_secret_published_timestamp_seconds", "connectedapp_orphaned_clients", "connectedapp_tombstones",
		})
	})
	metricspage.Check(t, "../../docs/metrics-operator.md", metrics.Registry, "connectedapp_")
}

// value is that of the series with these values of its labels, in the order of
// their names; of a histogram the number of observations.
func value(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var values []string
			for _, pair := range metric.GetLabel() {
				values = append(values, pair.GetValue())
			}
			if family.GetName() == name && slices.Equal(values, labels) {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
