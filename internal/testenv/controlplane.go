// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/go-logr/logr"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv/controlplane"
)

// SystemNamespace is the manager's namespace in tests. Start creates it.
const SystemNamespace = "connectedapps-system"

// parallel is how many parallel tests of a package run at a time.
const parallel = "8"

// ControlPlane is a running API server with our CRDs.
type ControlPlane struct {
	// Config connects as an administrator.
	Config *rest.Config
	// Client reads and writes without a cache.
	Client client.WithWatch
	// Scheme knows the built-in kinds and ours.
	Scheme *kruntime.Scheme

	environment *envtest.Environment
	stop        func() error
	// managers, collectors and workloads run while tests use them.
	managers, collectors, workloads shared
}

// Run starts a control plane, runs the tests of the package with it and ends
// it. It is the body of TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }
//
// The controllers log to standard error when TESTENV_LOG is set.
func Run(m *testing.M, plane **ControlPlane) int {
	return run(m, plane, func(*ControlPlane) (func() error, error) {
		return func() error { return nil }, nil
	})
}

// run is Run with something that begins before the tests and is checked after them.
func run(m *testing.M, plane **ControlPlane, begin func(*ControlPlane) (check func() error, err error)) int {
	handler := slog.DiscardHandler
	if os.Getenv("TESTENV_LOG") != "" {
		handler = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	klog.SetLogger(logr.FromSlogHandler(handler))
	started, err := Start()
	if err != nil {
		fmt.Fprintf(os.Stderr, "testenv: %v\n", err)
		return 1
	}
	*plane = started
	// These tests wait more than they compute.
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintf(os.Stderr, "testenv: %v\n", err)
		return 1
	}
	check, err := begin(started)
	if err != nil {
		fmt.Fprintf(os.Stderr, "testenv: %v\n", err)
		return 1
	}
	code := m.Run()
	if err := check(); err != nil {
		fmt.Fprintf(os.Stderr, "testenv: %v\n", err)
		code = max(code, 1)
	}
	if err := started.Stop(); err != nil {
		fmt.Fprintf(os.Stderr, "testenv: stopping the control plane: %v\n", err)
		return 1
	}
	return code
}

// Start starts a control plane on free ports of the loopback interface. It ends
// with the test process, however that ends.
func Start() (*ControlPlane, error) {
	p := &ControlPlane{Scheme: NewScheme(), environment: &envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join(ModuleRoot(), "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}}
	var err error
	if p.stop, err = controlplane.Start(p.environment); err != nil {
		return nil, err
	}
	if err := p.connect(); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *ControlPlane) connect() (err error) {
	p.Config = p.environment.Config
	p.Config.QPS = -1 // tests wait for conditions, not for a limiter
	if p.Client, err = client.NewWithWatch(p.Config, client.Options{Scheme: p.Scheme}); err != nil {
		return fmt.Errorf("connecting to the control plane: %w", err)
	}
	return p.createSystemNamespace()
}

// Kubeconfig connects as an administrator.
func (p *ControlPlane) Kubeconfig() []byte { return p.environment.KubeConfig }

// Stop ends the control plane and removes its data.
func (p *ControlPlane) Stop() error { return p.stop() }

// NewScheme returns a scheme with the built-in kinds and ours.
func NewScheme() *kruntime.Scheme {
	scheme := kruntime.NewScheme()
	for _, add := range []func(*kruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(fmt.Sprintf("registering kinds: %v", err)) // only two kinds of one name get here
		}
	}
	return scheme
}

// ModuleRoot is the directory with go.mod.
func ModuleRoot() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
