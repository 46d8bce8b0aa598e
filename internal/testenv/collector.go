// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv/controlplane"
)

// ShareCollector runs what ends deleted things in a cluster: the garbage collector
// and the end of namespaces, both of kube-controller-manager. It stops with the
// last test that asked for it.
func (p *ControlPlane) ShareCollector(t testing.TB) {
	t.Helper()
	p.shareControllers(t, &p.collectors, controlplane.Collectors)
}

// ShareWorkloads runs what makes the Pods of Deployments and the like, of
// kube-controller-manager. It stops with the last test that asked for it.
func (p *ControlPlane) ShareWorkloads(t testing.TB) {
	t.Helper()
	p.shareControllers(t, &p.workloads, controlplane.Workloads)
}

func (p *ControlPlane) shareControllers(t testing.TB, running *shared, controllers []string) {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, running.release()) })
	require.NoError(t, running.use(func(ctx context.Context) (<-chan error, error) {
		stop, err := controlplane.StartControllerManager(p.environment.KubeConfig, controllers)
		if err != nil {
			return nil, err
		}
		done := make(chan error, 1)
		context.AfterFunc(ctx, func() { done <- stop() })
		return done, nil
	}))
}
