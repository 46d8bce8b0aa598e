// SPDX-License-Identifier: Apache-2.0

package management

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

const (
	maxPublicKeys      = 10
	maxPublicKeyLength = 16 << 10
	minRSABits         = 2048
	maxRSABits         = 8192 // longer ones only make verification slow
)

// readPublicKey takes one PEM block with a public key or a certificate, and
// returns it byte for byte as it was sent.
func readPublicKey(path string, v any) (string, error) {
	s, err := readString(path, v)
	if err != nil {
		return "", err
	}
	if len(s) > maxPublicKeyLength {
		return "", httpx.BadRequest("%s: is %d bytes long, at most %d are allowed", path, len(s), maxPublicKeyLength)
	}
	block, rest := pem.Decode([]byte(s))
	switch {
	case strings.ContainsRune(s, 0):
		return "", httpx.BadRequest("%s: contains a NUL character", path)
	case block == nil:
		return "", httpx.BadRequest("%s: is not PEM; expected -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----", path)
	case strings.TrimSpace(string(rest)) != "":
		return "", httpx.BadRequest("%s: holds more than one PEM block; make each an entry of its own", path)
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return "", httpx.BadRequest("%s: is a private key; register the public key and treat the private one as disclosed", path)
	}
	return s, checkPublicKey(path, block)
}

func checkPublicKey(path string, block *pem.Block) error {
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = certificate.PublicKey
		}
	default:
		return httpx.BadRequest("%s: is PEM of type %q; expected PUBLIC KEY or CERTIFICATE", path, shorten(block.Type))
	}
	if err != nil {
		return httpx.BadRequest("%s: holds no readable %s", path, strings.ToLower(block.Type))
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return httpx.BadRequest("%s: is an RSA key of %d bits; %d to %d are accepted", path, bits, minRSABits, maxRSABits)
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 256 {
			return httpx.BadRequest("%s: is on curve %s; use P-256, P-384 or P-521", path, key.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return httpx.BadRequest("%s: must be an RSA, EC (P-256, P-384, P-521) or Ed25519 key", path)
	}
	return nil
}

// certExpiry is the earliest end of the certificates among keys, or nil when
// there is none.
func certExpiry(keys []string) *string {
	var earliest time.Time
	for _, key := range keys {
		block, _ := pem.Decode([]byte(key))
		if block == nil || block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err == nil && (earliest.IsZero() || certificate.NotAfter.Before(earliest)) {
			earliest = certificate.NotAfter
		}
	}
	if earliest.IsZero() {
		return nil
	}
	s := earliest.UTC().Format(time.RFC3339)
	return &s
}
