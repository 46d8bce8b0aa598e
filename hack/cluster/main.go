// SPDX-License-Identifier: Apache-2.0

// Command cluster runs a Kubernetes control plane (etcd, kube-apiserver,
// kube-controller-manager) on free loopback ports in a directory of its own.
// With --node it also makes this machine a node that runs Pods, which is for
// namespaces that hack/e2e.sh makes. It writes a kubeconfig once all is ready,
// and stops everything and removes the directory when it is interrupted or one
// of the parts ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const readyTimeout = 2 * time.Minute

type options struct {
	assets            string
	controllerManager string
	dir               string
	kubeconfig        string
	// node is empty where there is none.
	node string
}

func main() {
	// The children are told to die with the thread that started them, so this
	// goroutine keeps the main thread for itself.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, parse()); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	flag.StringVar(&o.assets, "assets", "bin/k8s", "directory that holds etcd and kube-apiserver")
	flag.StringVar(&o.controllerManager, "controller-manager", "",
		"path of kube-controller-manager (default: beside kube-apiserver)")
	flag.StringVar(&o.dir, "dir", "", "directory for data, keys and logs; must not exist (default: a new temporary one)")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "file to write once the API is ready (default: kubeconfig in --dir)")
	flag.StringVar(&o.node, "node", "", "directory that holds containerd, runc and CNI plugins, to be a node as well: "+
		"for hack/e2e.sh, which makes namespaces for it (default: no node)")
	flag.Parse()
	if o.controllerManager == "" {
		o.controllerManager = filepath.Join(o.assets, "kube-controller-manager")
	}
	return o
}

// absolute makes the paths of programs independent of the directory they run in.
func (o *options) absolute() (err error) {
	if o.assets, err = filepath.Abs(o.assets); err != nil {
		return err
	}
	if o.controllerManager, err = filepath.Abs(o.controllerManager); err != nil || o.node == "" {
		return err
	}
	o.node, err = filepath.Abs(o.node)
	return err
}

func run(ctx context.Context, o options) (err error) {
	if err := o.absolute(); err != nil {
		return err
	}
	dir, err := makeDir(o.dir)
	if err != nil {
		return err
	}
	// The logs are worth more than a tidy disk when something went wrong.
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	kubeconfig := o.kubeconfig
	if kubeconfig == "" {
		kubeconfig = filepath.Join(dir, "kubeconfig")
	}
	plane, err := newControlPlane(dir, o)
	if err != nil {
		return err
	}
	defer plane.stop()
	if err := plane.start(ctx); err != nil {
		return ignoreInterrupt(ctx, err)
	}
	if err := plane.writeKubeconfig(kubeconfig); err != nil {
		return err
	}
	defer func() { _ = os.Remove(kubeconfig) }()
	fmt.Printf("the API is ready at %s\n", plane.url())
	return ignoreInterrupt(ctx, plane.wait(ctx))
}

// makeDir returns the absolute path of a new directory only its owner can
// enter.
func makeDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "connectedapps-cluster-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}

// ignoreInterrupt turns the error of an interrupted wait into success: being
// interrupted is how this program is meant to end.
func ignoreInterrupt(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}
