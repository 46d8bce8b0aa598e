// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	minClientSecret = 16
	maxClientSecret = 256
	minRSABits      = 2048
)

// checkPublicKey says what is wrong with a key before a server has to.
func checkPublicKey(text string) error {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return errors.New("is not PEM")
	case strings.TrimSpace(string(rest)) != "":
		return errors.New("holds more than one PEM block; list each key by itself")
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return errors.New("is a private key; register the public key, and treat this one as disclosed")
	}
	key, err := parsePublicKey(block)
	if err != nil {
		return err
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSABits {
			return fmt.Errorf("is an RSA key of %d bits; at least %d are needed", key.N.BitLen(), minRSABits)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return errors.New("is neither an RSA, an EC nor an Ed25519 key")
	}
	return nil
}

func parsePublicKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("holds no readable public key")
		}
		return key, nil
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("holds no readable certificate")
		}
		return certificate.PublicKey, nil
	}
	return nil, errors.New("is neither PUBLIC KEY nor CERTIFICATE")
}

// checkClientSecret never repeats the value.
func checkClientSecret(value string) error {
	if n := len(value); n < minClientSecret || n > maxClientSecret {
		return fmt.Errorf("must have %d to %d characters, it has %d", minClientSecret, maxClientSecret, n)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("must be printable ASCII without a line end") // RFC 6749 appendix A.2
	}
	return nil
}
