// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	caName            = "ca"
	serviceAccountKey = "service-account"
	validity          = 30 * 24 * time.Hour
)

// pki is a directory of keys and certificates, all signed by one authority.
type pki struct {
	dir   string
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
}

// newPKI writes every key pair the control plane needs.
func newPKI(dir string) (*pki, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	p := &pki{dir: dir}
	if err := p.createCA(); err != nil {
		return nil, err
	}
	if _, err := p.newKey(serviceAccountKey); err != nil {
		return nil, err
	}
	for name, subject := range map[string]pkix.Name{
		apiserverCert: {CommonName: "kube-apiserver"},
		adminCert:     {CommonName: "admin", Organization: []string{"system:masters"}},
		managerCert:   {CommonName: "system:kube-controller-manager"},
	} {
		if err := p.issue(name, subject); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *pki) cert(name string) string { return filepath.Join(p.dir, name+".crt") }
func (p *pki) key(name string) string  { return filepath.Join(p.dir, name+".key") }

func (p *pki) createCA() (err error) {
	if p.caKey, err = p.newKey(caName); err != nil {
		return err
	}
	template := newTemplate(pkix.Name{CommonName: "development cluster"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.caKey.Public(), p.caKey)
	if err != nil {
		return err
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return writePEM(p.cert(caName), "CERTIFICATE", der)
}

func (p *pki) issue(name string, subject pkix.Name) error {
	key, err := p.newKey(name)
	if err != nil {
		return err
	}
	template := newTemplate(subject)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(serviceAPI), net.ParseIP(nodeAddress)}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, key.Public(), p.caKey)
	if err != nil {
		return err
	}
	return writePEM(p.cert(name), "CERTIFICATE", der)
}

func newTemplate(subject pkix.Name) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      subject,
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(validity),
	}
}

func (p *pki) newKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(p.key(name), "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// writeKubeconfig writes a self-contained kubeconfig in one step, so that its
// existence means that it is whole.
func writeKubeconfig(path, server string, p *pki, user string) error {
	var encoded [3]string
	for i, file := range []string{p.cert(caName), p.cert(user), p.key(user)} {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		encoded[i] = base64.StdEncoding.EncodeToString(data)
	}
	config := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: development, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: %s, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: development, context: {cluster: development, user: %s}}]
current-context: development
`, server, encoded[0], user, encoded[1], encoded[2], user)
	partial := path + ".partial"
	if err := os.WriteFile(partial, []byte(config), 0o600); err != nil {
		return err
	}
	return os.Rename(partial, path)
}
