// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"regexp"

	"github.com/go-jose/go-jose/v4"
)

var onePEM = regexp.MustCompile(`^\s*-----BEGIN (PUBLIC KEY|CERTIFICATE)-----[A-Za-z0-9+/=\s]+-----END (PUBLIC KEY|CERTIFICATE)-----\s*$`)

// isPublicPEM tells whether a text is one public key or certificate in PEM.
func isPublicPEM(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if len(text) > 16384 || !onePEM.MatchString(text) || block == nil {
		return false
	}
	_, err := x509.ParsePKIXPublicKey(block.Bytes)
	if block.Type == "CERTIFICATE" {
		_, err = x509.ParseCertificate(block.Bytes)
	}
	return err == nil
}

// publicPEM is a public JWK as PEM (RFC 7517). Its error repeats nothing of the key.
func publicPEM(raw json.RawMessage) (string, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		return "", errors.New("is of a kind that is not known here")
	}
	if !key.IsPublic() {
		return "", errors.New("is private or symmetric: take it for disclosed")
	}
	public, ok := key.Key.(crypto.PublicKey)
	if !ok {
		return "", errors.New("is of a kind that is not known here")
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", errors.New("is of a kind that is not known here")
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}
