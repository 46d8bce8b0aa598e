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
	t.Cleanup(func() { require.NoError(t, p.collectors.release()) })
	require.NoError(t, p.collectors.use(func(ctx context.Context) (<-chan error, error) {
		stop, err := controlplane.StartControllerManager(p.environment.KubeConfig)
		if err != nil {
			return nil, err
		}
		done := make(chan error, 1)
		context.AfterFunc(ctx, func() { done <- stop() })
		return done, nil
	}))
}
