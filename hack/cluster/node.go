// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509/pkix"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	nodeName = "node"
	// nodeAddress is where Pods find the API server, the kubelet and DNS.
	// hack/e2e/inside.sh gives it to the machine.
	nodeAddress = "10.250.0.1"

	schedulerCert = "scheduler"
	proxyCert     = "kube-proxy"
	kubeletCert   = "kubelet"

	nodeTimeout = 2 * time.Minute
)

//go:embed node
var nodeFiles embed.FS

// nodeFlags are those of kube-apiserver where there are Pods, which reach it at
// the address of the Service kubernetes, and whose logs it reads at the kubelet.
func (c *controlPlane) nodeFlags() []string {
	return []string{
		"--bind-address=" + nodeAddress, "--advertise-address=" + nodeAddress,
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + c.pki.cert(adminCert), "--kubelet-client-key=" + c.pki.key(adminCert),
	}
}

// startNode runs what makes this machine a node, and the scheduler, and returns
// when the node is ready. Its containers end with the PID namespace alone.
func (c *controlPlane) startNode(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	if err := c.writeNodeFiles(); err != nil {
		return err
	}
	if err := c.serveNames(ctx); err != nil {
		return fmt.Errorf("serving names: %w", err)
	}
	for _, p := range []struct {
		folder, name string
		flags        []string
	}{
		{c.node, "containerd", []string{"--config=" + c.file("containerd.toml")}},
		{c.assets, "kube-scheduler", []string{
			"--kubeconfig=" + c.file("kube-scheduler.kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1",
			"--authentication-kubeconfig=" + c.file("kube-scheduler.kubeconfig"),
			"--authorization-kubeconfig=" + c.file("kube-scheduler.kubeconfig"),
		}},
		{c.assets, "kube-proxy", []string{"--config=" + c.file("kube-proxy.yaml")}},
	} {
		if err := c.spawn(filepath.Join(p.folder, p.name), p.flags); err != nil {
			return err
		}
	}
	if err := c.spawn(filepath.Join(c.assets, "kubelet"), []string{
		"--config=" + c.file("kubelet.yaml"), "--kubeconfig=" + c.file("kubelet.kubeconfig"),
		"--root-dir=" + c.file("kubelet"), "--cert-dir=" + c.file("kubelet/pki"),
		"--hostname-override=" + nodeName, "--node-ip=" + nodeAddress,
	}); err != nil {
		return err
	}
	return c.waitFor(ctx, "the node becoming ready", c.nodeReady)
}

func (c *controlPlane) file(name string) string { return filepath.Join(c.dir, name) }

func (c *controlPlane) socket() string { return c.file("containerd.sock") }

func (c *controlPlane) writeNodeFiles() error {
	values := map[string]string{
		"DIR": c.dir, "PROGRAMS": c.node, "SOCKET": c.socket(), "CA": c.pki.cert(caName),
		"NODE": nodeName, "ADDRESS": nodeAddress, "POD_NETWORK": podNetwork,
	}
	err := os.Mkdir(c.file("network"), 0o700)
	for name, target := range map[string]string{
		"containerd.toml": "containerd.toml", "kubelet.yaml": "kubelet.yaml", "kube-proxy.yaml": "kube-proxy.yaml",
		"network.conflist": "network/pods.conflist",
	} {
		text, readErr := nodeFiles.ReadFile("node/" + name)
		expanded := os.Expand(string(text), func(variable string) string { return values[variable] })
		err = errors.Join(err, readErr, os.WriteFile(c.file(target), []byte(expanded), 0o600))
	}
	// Pods resolve the cluster's names, and none of those around this machine.
	err = errors.Join(err, os.WriteFile(c.file("resolv.conf"), nil, 0o600))
	for _, u := range []struct {
		kubeconfig, cert string
		subject          pkix.Name
	}{
		{"kube-scheduler.kubeconfig", schedulerCert, pkix.Name{CommonName: "system:kube-scheduler"}},
		{"kube-proxy.kubeconfig", proxyCert, pkix.Name{CommonName: "system:kube-proxy"}},
		{"kubelet.kubeconfig", kubeletCert, pkix.Name{CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}}},
	} {
		err = errors.Join(err, c.pki.issue(u.cert, u.subject))
		if err == nil {
			err = writeKubeconfig(c.file(u.kubeconfig), c.url(), c.pki, u.cert)
		}
	}
	return err
}

func (c *controlPlane) nodeReady(ctx context.Context, client *http.Client) bool {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if !c.get(ctx, client, "/api/v1/nodes/"+nodeName, &node) {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Status == "True"
		}
	}
	return false
}

// get reads an object of the API, if it is there.
func (c *controlPlane) get(ctx context.Context, client *http.Client, path string, into any) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url()+path, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK && json.NewDecoder(response.Body).Decode(into) == nil
}
