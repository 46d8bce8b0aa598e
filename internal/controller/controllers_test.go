// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
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
	testenv.Eventually(t, func(c *require.Assertions) {
		families, err := metrics.Registry.Gather()
		c.NoError(err)
		ready := 0.0
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				if family.GetName() == "connectedapp_objects" && metric.GetLabel()[0].GetValue() == "ConnectedApp" {
					ready = metric.GetGauge().GetValue()
				}
			}
		}
		c.InDelta(1, ready, 0)
	})
}
