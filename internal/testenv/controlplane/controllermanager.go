// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed beside.sh
var besideScript string

// Controllers of kube-controller-manager.
var (
	// Collectors end what was deleted: garbage collection and the end of namespaces.
	Collectors = []string{"garbage-collector-controller", "namespace-controller"}
	// Workloads make Pods.
	Workloads = []string{
		"deployment-controller", "replicaset-controller", "statefulset-controller", "daemonset-controller", "job-controller", "cronjob-controller",
	}
)

// StartControllerManager runs some controllers of kube-controller-manager on the
// control plane that the kubeconfig leads to. The program is $KUBE_CONTROLLER_MANAGER, or beside
// the others. Should this process end before stop is called, however it does, the
// program ends with it.
func StartControllerManager(kubeconfig []byte, controllers []string) (stop func() error, err error) {
	program, err := controllerManager()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "connectedapps-controllermanager-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	watcher := exec.CommandContext(context.Background(), "sh", "-c", besideScript, "sh", folder, program,
		"--kubeconfig="+file, "--controllers="+strings.Join(controllers, ","), "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=1000", "--kube-api-burst=2000")
	// What ends a whole terminal or the group of the tests must not end it.
	watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	lifeline, err := watcher.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := watcher.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", program, err), os.RemoveAll(folder))
	}
	return func() error { return errors.Join(lifeline.Close(), watcher.Wait()) }, nil
}

func controllerManager() (string, error) {
	program := os.Getenv("KUBE_CONTROLLER_MANAGER")
	if program == "" {
		assets, err := assetsDirectory()
		if err != nil {
			return "", err
		}
		program = filepath.Join(assets, "kube-controller-manager")
	}
	if _, err := os.Stat(program); err != nil { //nolint:gosec // the folder is the developer's own choice
		return "", fmt.Errorf("no %s: run `make kube-controller-manager`, or set KUBE_CONTROLLER_MANAGER", program)
	}
	return filepath.Abs(program)
}
