// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"sync"
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
	// account is the ServiceAccount that the manager runs as; empty: none.
	account string
}

// WithOptions changes the controllers' options.
func WithOptions(change func(*controller.Options)) ManagerOption {
	return func(o *managerOptions) { change(&o.controllers) }
}

// WithClient replaces the client the controllers write with, for faults.
func WithClient(newClient client.NewClientFunc) ManagerOption {
	return func(o *managerOptions) { o.newClient = newClient }
}

// AsServiceAccount runs the controllers as a ServiceAccount of the system
// namespace, with all rights.
func AsServiceAccount(name string) ManagerOption {
	return func(o *managerOptions) { o.account = name }
}

// ShareManager runs all controllers for the tests that ask for it at the same
// time: parallel ones, each with its own namespace and TokenServer. They stop
// with the last of them. Only the first one's options count.
func (p *ControlPlane) ShareManager(t testing.TB, options ...ManagerOption) {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, p.managers.release()) })
	require.NoError(t, p.managers.use(func(ctx context.Context) (<-chan error, error) { return p.run(ctx, options) }))
}

// shared is something that runs while at least one test uses it.
type shared struct {
	mu     sync.Mutex
	users  int
	cancel context.CancelFunc
	done   <-chan error
}

func (s *shared) use(run func(context.Context) (<-chan error, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
	if s.cancel != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, err := run(ctx)
	if err != nil {
		cancel()
		return err
	}
	s.cancel, s.done = cancel, done
	return nil
}

func (s *shared) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	if s.users > 0 || s.cancel == nil {
		return nil
	}
	s.cancel()
	s.cancel = nil
	return <-s.done
}

// StartManager runs all controllers as the manager does, with short intervals,
// until stop is called or the test ends.
func (p *ControlPlane) StartManager(t testing.TB, options ...ManagerOption) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done, err := p.run(ctx, options)
	require.NoError(t, err)
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop
}

// run starts the controllers and waits for their cache. The channel tells how
// they ended.
func (p *ControlPlane) run(ctx context.Context, options []ManagerOption) (<-chan error, error) {
	o := managerOptions{newClient: controller.NewClient, controllers: controller.Options{
		Namespace: SystemNamespace, ResyncInterval: 10 * time.Minute, ProbeInterval: 500 * time.Millisecond, MinimumTokenLifetime: time.Second,
	}}
	for _, option := range options {
		option(&o)
	}
	skip := true // several managers run in one test binary, one after the other
	config := rest.CopyConfig(p.Config)
	if o.account != "" {
		config.Impersonate = rest.ImpersonationConfig{
			UserName: "system:serviceaccount:" + SystemNamespace + ":" + o.account, Groups: []string{"system:masters"},
		}
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: p.Scheme, Cache: controller.CacheOptions(), NewClient: o.newClient,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		return nil, err
	}
	if err := controller.Register(ctx, mgr, o.controllers); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return done, errors.New("the cache does not fill")
	}
	return done, nil
}
