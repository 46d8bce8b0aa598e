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
	"runtime"
	"syscall"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

var (
	//go:embed run.sh
	runScript []byte
	//go:embed watch.sh
	watchScript string
)

// What is in the folder of a control plane. The scripts use the same names.
const (
	lifelineFIFO = "lifeline"
	assetsLink   = "assets" // to the directory with the programs
	dataFolder   = "data"   // etcd's
	certFolder   = "certificates"
)

// stoppedLine tells the watcher that the programs have ended by themselves.
const stoppedLine = "stopped\n"

var programs = []string{"etcd", "kube-apiserver"}

// plane is a control plane that runs.
type plane struct {
	environment *envtest.Environment
	folder      string
	lifeline    *os.File
	watcher     *exec.Cmd
}

// Start starts the control plane of an environment, as the programs in
// $KUBEBUILDER_ASSETS or the module's bin/k8s make it, and returns what ends it
// and removes its data. Should this process end before, however it does, they
// end with it. After an error nothing is left behind.
func Start(environment *envtest.Environment) (stop func() error, err error) {
	assets, err := assetsDirectory()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "connectedapps-controlplane-")
	if err != nil {
		return nil, err
	}
	p := &plane{environment: environment, folder: folder}
	if err := errors.Join(p.prepare(assets), p.watch()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if _, err := environment.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the control plane in %s: %w", assets, err), p.stop())
	}
	// There are no webhooks, and their certificate lies in a folder elsewhere.
	if err := environment.WebhookInstallOptions.Cleanup(); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p.stop, nil
}

// prepare fills the folder and makes the environment use it.
func (p *plane) prepare(assets string) error {
	for _, name := range programs {
		if err := os.WriteFile(p.path(name), runScript, 0o700); err != nil { //nolint:gosec // programs are executable
			return err
		}
	}
	p.environment.ControlPlane.Etcd = &envtest.Etcd{Path: p.path("etcd"), DataDir: p.path(dataFolder)}
	apiserver := p.environment.ControlPlane.GetAPIServer()
	apiserver.Path, apiserver.CertDir = p.path("kube-apiserver"), p.path(certFolder)
	return errors.Join(
		os.Symlink(assets, p.path(assetsLink)),
		os.Mkdir(p.path(dataFolder), 0o700),
		os.Mkdir(p.path(certFolder), 0o700),
	)
}

// watch starts the watcher. Its group is its own: what ends a whole terminal or
// the group of the tests must not end it.
func (p *plane) watch() (err error) {
	path := p.path(lifelineFIFO)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	// To open one end alone would wait for somebody at the other.
	if p.lifeline, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return err
	}
	end, err := os.Open(path)
	if err != nil {
		return errors.Join(err, p.lifeline.Close())
	}
	defer func() { _ = end.Close() }()
	p.watcher = exec.CommandContext(context.Background(), "sh", "-c", watchScript, "sh", p.folder)
	p.watcher.Stdin = end
	p.watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.watcher.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting the watcher of the control plane: %w", err), p.lifeline.Close())
	}
	return nil
}

// stop ends the processes in order and waits until the watcher has tidied up,
// which kills what did not end.
func (p *plane) stop() error {
	err := p.environment.Stop()
	if err == nil {
		_, err = p.lifeline.WriteString(stoppedLine)
	}
	return errors.Join(err, p.lifeline.Close(), p.watcher.Wait())
}

func (p *plane) path(name string) string { return filepath.Join(p.folder, name) }

func assetsDirectory() (string, error) {
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		_, file, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(file), "..", "..", "..", "bin", "k8s")
	}
	for _, name := range programs {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil { //nolint:gosec // the folder is the developer's own choice
			return "", fmt.Errorf("no %s in %s: run `make control-plane` to build the control plane, or set KUBEBUILDER_ASSETS", name, dir)
		}
	}
	return filepath.Abs(dir)
}
