// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"connectedapps.dev/operator/internal/bootstrap"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/options/manageroptions"
	"connectedapps.dev/operator/internal/tracing"
)

const (
	leaderElectionID = "manager.connectedapps.dev"
	shutdownTimeout  = 10 * time.Second
)

// manage runs the controllers until ctx ends.
func manage(ctx context.Context, o *manageroptions.Options, spans *tracing.Tracing) error {
	scheme, err := controller.NewScheme()
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster; set --kubeconfig or $KUBECONFIG outside of one: %w", err)
	}
	// The API server's own fairness protects it; a limit here would only delay.
	config.QPS = -1
	watched := &watched{own: o.Namespace, wanted: o.Namespaces}
	if err := watched.look(ctx, config, scheme); err != nil {
		return err
	}
	timeout := shutdownTimeout
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         controller.CacheOptions(watched.namespaces()...),
		NewClient:                     controller.NewClient,
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // addMetrics
		HealthProbeBindAddress:        "0",                                     // addProbes
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaderElectionID,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &timeout,
	})
	if err != nil {
		return fmt.Errorf("connecting to the cluster: %w", err)
	}
	if err := addProbes(mgr, o.HealthProbeBindAddress); err != nil {
		return err
	}
	if err := addMetrics(mgr, o); err != nil {
		return err
	}
	if err := mgr.Add(watched); err != nil {
		return fmt.Errorf("adding the look at namespaces: %w", err)
	}
	bundled, err := addBootstrap(mgr, o)
	if err != nil {
		return fmt.Errorf("adding the bootstrap: %w", err)
	}
	err = controller.Register(ctx, mgr, controller.Options{
		Namespace: o.Namespace, Namespaces: watched.namespaces(),
		ResyncInterval: o.ResyncInterval, ProbeInterval: o.ProbeInterval, MinimumTokenLifetime: o.MinimumTokenLifetime,
		Bundled: bundled.TroubleOf, Tracing: spans,
	})
	if err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controllers: %w", err)
	}
	return nil
}

// addBootstrap makes what the bundled token server needs. Its client has no
// cache: the manager's holds Secrets with our label alone.
func addBootstrap(mgr ctrl.Manager, o *manageroptions.Options) (*bootstrap.Runnable, error) {
	direct, err := client.NewWithWatch(mgr.GetConfig(), client.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
	})
	if err != nil {
		return nil, err
	}
	r := &bootstrap.Runnable{
		Client: direct, Namespace: o.Namespace, Secrets: o.BootstrapSecrets, TLS: o.ManageTLS,
		Recorder: mgr.GetEventRecorder("connectedapps-bootstrap"),
	}
	return r, mgr.Add(r)
}
