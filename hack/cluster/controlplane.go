// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

const (
	adminCert     = "admin"
	managerCert   = "controller-manager"
	apiserverCert = "apiserver"

	serviceNetwork = "10.96.0.0/16"
	serviceAPI     = "10.96.0.1"
	podNetwork     = "10.244.0.0/16"
)

// controlPlane is one cluster: its directory, keys, ports and processes.
type controlPlane struct {
	options

	dir       string
	pki       *pki
	etcdPort  int
	peerPort  int
	apiPort   int
	kcmPort   int
	processes []*process
	ended     chan *process
}

func newControlPlane(dir string, o options) (*controlPlane, error) {
	keys, err := newPKI(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, fmt.Errorf("creating keys and certificates: %w", err)
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, fmt.Errorf("looking for free ports: %w", err)
	}
	return &controlPlane{
		options: o, dir: dir, pki: keys,
		etcdPort: ports[0], peerPort: ports[1], apiPort: ports[2], kcmPort: ports[3],
		ended: make(chan *process, 8),
	}, nil
}

// freePorts holds all listeners until it knows every port, so that no port
// comes twice.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = listener.Close() }()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (c *controlPlane) url() string {
	if c.node != "" {
		return "https://" + net.JoinHostPort(nodeAddress, strconv.Itoa(c.apiPort))
	}
	return "https://" + loopback(c.apiPort)
}

func (c *controlPlane) start(ctx context.Context) error {
	if err := c.spawn(filepath.Join(c.assets, "etcd"), c.etcdFlags()); err != nil {
		return err
	}
	if err := c.spawn(filepath.Join(c.assets, "kube-apiserver"), c.apiserverFlags()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := c.waitFor(ctx, "kube-apiserver", c.ready); err != nil {
		return err
	}
	kubeconfig := filepath.Join(c.dir, "controller-manager.kubeconfig")
	if err := writeKubeconfig(kubeconfig, c.url(), c.pki, managerCert); err != nil {
		return err
	}
	if err := c.spawn(c.controllerManager, c.managerFlags(kubeconfig)); err != nil || c.node == "" {
		return err
	}
	return c.startNode(ctx)
}

func (c *controlPlane) etcdFlags() []string {
	client, peer := "http://"+loopback(c.etcdPort), "http://"+loopback(c.peerPort)
	return []string{
		"--name=default", "--data-dir=" + filepath.Join(c.dir, "etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--unsafe-no-fsync", // the data never outlives this process
	}
}

func (c *controlPlane) apiserverFlags() []string {
	addresses := []string{
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		// A loopback address is not a valid endpoint of the kubernetes Service.
		"--endpoint-reconciler-type=none",
	}
	if c.node != "" {
		addresses = c.nodeFlags()
	}
	return append(addresses,
		"--etcd-servers=http://"+loopback(c.etcdPort),
		"--secure-port="+strconv.Itoa(c.apiPort),
		"--service-cluster-ip-range="+serviceNetwork,
		"--tls-cert-file="+c.pki.cert(apiserverCert), "--tls-private-key-file="+c.pki.key(apiserverCert),
		"--client-ca-file="+c.pki.cert(caName),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.pki.key(serviceAccountKey),
		"--service-account-signing-key-file="+c.pki.key(serviceAccountKey),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction,PodSecurity",
		"--shutdown-delay-duration=0s",
	)
}

func (c *controlPlane) managerFlags(kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(c.kcmPort),
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + c.pki.key(serviceAccountKey),
		"--root-ca-file=" + c.pki.cert(caName),
		"--cluster-cidr=" + podNetwork, "--service-cluster-ip-range=" + serviceNetwork,
	}
}

// waitFor returns when it is so, a process ended, or time is up.
func (c *controlPlane) waitFor(ctx context.Context, what string, isSo func(context.Context, *http.Client) bool) error {
	client, err := c.adminClient()
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !isSo(ctx, client) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s (logs in %s): %w", what, c.dir, context.Cause(ctx))
		case p := <-c.ended:
			return p.failure()
		case <-tick.C:
		}
	}
	return nil
}

func (c *controlPlane) adminClient() (*http.Client, error) {
	certificate, err := tls.LoadX509KeyPair(c.pki.cert(adminCert), c.pki.key(adminCert))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.pki.ca)
	return &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}},
	}, nil
}

func (c *controlPlane) ready(ctx context.Context, client *http.Client) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url()+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// wait returns when the context ends or a process does.
func (c *controlPlane) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case p := <-c.ended:
		return p.failure()
	}
}

func (c *controlPlane) writeKubeconfig(path string) error {
	return writeKubeconfig(path, c.url(), c.pki, adminCert)
}
