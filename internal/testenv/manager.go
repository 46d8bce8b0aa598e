// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"connectedapps.dev/operator/internal/controller"
)

// ManagerOption changes how the controllers are run.
type ManagerOption func(*managerOptions)

type managerOptions struct {
	controllers controller.Options
	newClient   client.NewClientFunc
	user        string
}

// WithOptions changes the controllers' options.
func WithOptions(change func(*controller.Options)) ManagerOption {
	return func(o *managerOptions) { change(&o.controllers) }
}

// WithClient replaces the client the controllers write with, for faults.
func WithClient(newClient client.NewClientFunc) ManagerOption {
	return func(o *managerOptions) { o.newClient = newClient }
}

// WithUser lets the controllers act as a user, with no more rights than that
// user has.
func WithUser(name string) ManagerOption {
	return func(o *managerOptions) { o.user = name }
}

// StartManager runs all controllers as the manager does, with short intervals,
// until the returned function or the end of the test stops them.
func (p *ControlPlane) StartManager(t testing.TB, options ...ManagerOption) (stop func()) {
	t.Helper()
	o := managerOptions{controllers: controller.Options{
		Namespace: SystemNamespace, ResyncInterval: 10 * time.Minute, ProbeInterval: 500 * time.Millisecond, MinimumTokenLifetime: time.Second,
	}}
	for _, option := range options {
		option(&o)
	}
	skip := true // several managers run in one test binary, one after the other
	config := rest.CopyConfig(p.Config)
	config.Impersonate.UserName = o.user
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: p.Scheme, Cache: controller.CacheOptions(), NewClient: o.newClient,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: &skip},
	})
	require.NoError(t, err)
	require.NoError(t, controller.Register(t.Context(), mgr, o.controllers))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-done)
	}
	t.Cleanup(stop)
	require.True(t, mgr.GetCache().WaitForCacheSync(t.Context()), "the cache has to fill")
	return stop
}
