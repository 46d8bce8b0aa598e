// SPDX-License-Identifier: Apache-2.0

package start

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/controlplane"
	"connectedapps.dev/operator/internal/testenv/program"
)

var (
	// programs is a folder with kubectl, its plugin, and what runs in Pods.
	programs string
	// admin is the administrator of the cluster, pat is of the team payments.
	admin, pat string
	adminAt    *rest.Config
	api        client.Client
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run runs the tests with an API server, what makes Pods of Deployments and
// aggregates roles, and our programs as they are shipped.
func run(m *testing.M) (code int, err error) {
	folder, err := os.MkdirTemp("", "start-test-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	programs = filepath.Join(folder, "bin")
	if err := program.Build(programs, "./cmd/manager", "./cmd/tokenserver", "./cmd/kubectl-connectedapp"); err != nil {
		return 1, err
	}
	if err := program.Build(programs, "-tags=nethttpomithttp2", "./cmd/refresher"); err != nil {
		return 1, err
	}
	kubectl, err := testenv.KubectlPath()
	if err != nil {
		return 1, err
	}
	if err := os.Symlink(kubectl, filepath.Join(programs, "kubectl")); err != nil {
		return 1, err
	}
	environment := &envtest.Environment{}
	stop, err := controlplane.Start(environment)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return runWith(m, environment, folder)
}

func runWith(m *testing.M, environment *envtest.Environment, folder string) (code int, err error) {
	stop, err := controlplane.StartControllerManager(environment.KubeConfig, []string{
		"deployment-controller", "replicaset-controller", "serviceaccount-controller", "clusterrole-aggregation-controller",
	})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	adminAt = environment.Config
	if api, err = client.New(adminAt, client.Options{Scheme: testenv.NewScheme()}); err != nil {
		return 1, err
	}
	user, err := environment.AddUser(envtest.User{Name: "pat", Groups: []string{"payments"}}, nil)
	if err != nil {
		return 1, err
	}
	theirs, err := user.KubeConfig()
	if err != nil {
		return 1, err
	}
	admin, pat = filepath.Join(folder, "admin"), filepath.Join(folder, "pat")
	if err := errors.Join(os.WriteFile(admin, environment.KubeConfig, 0o600), os.WriteFile(pat, theirs, 0o600)); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
