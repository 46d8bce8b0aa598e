// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"

	"github.com/go-jose/go-jose/v4"
)

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
