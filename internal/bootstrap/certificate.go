// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

const (
	authorityName = "connectedapps token server CA"
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	// skew is how far clocks of other machines may be behind.
	skew = 5 * time.Minute
)

// keyPair is a certificate with its key, ECDSA on P-256.
type keyPair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// names are what a server is called.
type names struct {
	dns []string
	ips []net.IP
}

// serviceNames are those of the token server's Service.
func serviceNames(namespace string) []string {
	service := "tokenserver." + namespace + ".svc"
	return []string{service, service + ".cluster.local"}
}

// serverNames are the token server's: in the cluster by its Service, on a
// machine by loopback.
func serverNames(namespace string) names {
	return names{dns: append(serviceNames(namespace), "localhost"), ips: []net.IP{net.IPv4(127, 0, 0, 1)}}
}

func newAuthority(now time.Time) (*keyPair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: authorityName},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return newPair(template, nil)
}

func newLeaf(authority *keyPair, n names, now time.Time) (*keyPair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "connectedapps token server"},
		NotBefore:   now.Add(-skew),
		NotAfter:    minTime(now.Add(leafLife), authority.certificate.NotAfter),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    n.dns,
		IPAddresses: n.ips,
	}
	return newPair(template, authority)
}

// newPair makes a key and has authority sign it; nil signs it with itself.
func newPair(template *x509.Certificate, authority *keyPair) (*keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template.SerialNumber = serial
	parent, signer := template, key
	if authority != nil {
		parent, signer = authority.certificate, authority.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the new certificate: %w", err)
	}
	return &keyPair{certificate: certificate, key: key}, nil
}

// parsePair reads a certificate and its key. No error repeats the content.
func parsePair(certificatePEM, keyPEM []byte) (*keyPair, error) {
	certificateBlock, _ := pem.Decode(certificatePEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certificateBlock == nil || keyBlock == nil {
		return nil, errors.New("no PEM")
	}
	certificate, err := parseCertificate(certificateBlock)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyBlock)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("certificate and key do not belong together")
	}
	return &keyPair{certificate: certificate, key: key}, nil
}

func parseCertificate(block *pem.Block) (*x509.Certificate, error) {
	if block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(block *pem.Block) (*ecdsa.PrivateKey, error) {
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("no private key")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not ECDSA")
	}
	return ec, nil
}

func (p *keyPair) certificatePEM() []byte {
	return encodeCertificates([]*x509.Certificate{p.certificate})
}

func (p *keyPair) keyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		panic(err) // a key on P-256 can be written
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// due tells whether two thirds of the life have passed.
func (p *keyPair) due(now time.Time) bool {
	life := p.certificate.NotAfter.Sub(p.certificate.NotBefore)
	return !now.Before(p.certificate.NotBefore.Add(life * 2 / 3))
}

func (p *keyPair) serves(n names) bool {
	for _, name := range n.dns {
		if p.certificate.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, ip := range n.ips {
		if p.certificate.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}

// validAt tells whether the certificate may be used at a time. One of the future
// was made before the clock was set back.
func (p *keyPair) validAt(now time.Time) bool {
	return !now.Before(p.certificate.NotBefore) && !now.After(p.certificate.NotAfter)
}

func (p *keyPair) signedBy(authority *x509.Certificate) bool {
	return p.certificate.CheckSignatureFrom(authority) == nil
}

// parseCertificates reads the certificates of a bundle and leaves out whatever
// else is in it.
func parseCertificates(bundle []byte) []*x509.Certificate {
	var list []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := parseCertificate(block); err == nil {
			list = append(list, certificate)
		}
	}
	return list
}

func encodeCertificates(list []*x509.Certificate) []byte {
	var bundle []byte
	for _, certificate := range list {
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return bundle
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
