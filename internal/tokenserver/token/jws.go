// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"connectedapps.dev/operator/internal/tokenserver/jsonbuffer"
	"connectedapps.dev/operator/internal/tokenserver/keys"
)

// header is the protected header of what this server signs; its members are in
// alphabetical order, as a map of them would be written.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// headers are the encoded headers of all keys that have signed.
var headers = struct {
	sync.RWMutex
	encoded map[header]string
}{encoded: map[header]string{}}

func (h header) encode() (string, error) {
	headers.RLock()
	encoded, known := headers.encoded[h]
	headers.RUnlock()
	if known {
		return encoded, nil
	}
	text, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	encoded = base64.RawURLEncoding.EncodeToString(text)
	headers.Lock()
	headers.encoded[h] = encoded
	headers.Unlock()
	return encoded, nil
}

// sign makes a JWT in compact serialization. It is written here because signing is
// most of what a token costs: the parser's library encodes the header from a map
// and the signature by way of big integers. What is read is the library's to judge, but
// for what stands as it is written here (jwt.go).
// https://www.rfc-editor.org/rfc/rfc7515#section-7.1
func sign(signer keys.Signer, typ string, claims any) (raw string, err error) {
	head, err := header{signer.Algorithm, signer.KeyID, typ}.encode()
	if err != nil {
		return "", err
	}
	var refusal error
	err = jsonbuffer.Encode(claims, func(payload []byte) { raw, refusal = compact(signer, head, payload) })
	return raw, errors.Join(err, refusal)
}

func compact(signer keys.Signer, head string, payload []byte) (string, error) {
	const usual = 2 << 10 // longer ones are put into memory of their own
	raw := append(make([]byte, 0, usual), head...)
	raw = append(raw, '.')
	raw = base64.RawURLEncoding.AppendEncode(raw, payload)
	digest := sha256.Sum256(raw)
	signature, err := signature(signer, digest[:])
	if err != nil {
		return "", err
	}
	raw = append(raw, '.')
	return string(base64.RawURLEncoding.AppendEncode(raw, signature)), nil
}

// signature signs as the algorithm of the key says.
// https://www.rfc-editor.org/rfc/rfc7518#section-3.1
func signature(signer keys.Signer, digest []byte) ([]byte, error) {
	switch signer.Algorithm {
	case keys.RS256:
		return signer.Key.Sign(rand.Reader, digest, crypto.SHA256)
	case keys.ES256:
		return ecdsaSignature(signer.Key, digest)
	}
	return nil, fmt.Errorf("no way to sign by %s", signer.Algorithm)
}

// ecdsaSignature is r and s, 32 bytes each. It needs no randomness: what is signed
// decides the nonce, as RFC 8725 asks for, and with SHA-256 that takes a fifth less
// than a random nonce, which the library draws by SHA-512.
// https://www.rfc-editor.org/rfc/rfc7518#section-3.4
// https://www.rfc-editor.org/rfc/rfc8725#section-3.2
func ecdsaSignature(key crypto.Signer, digest []byte) ([]byte, error) {
	const size = 32
	if _, ok := key.(*ecdsa.PrivateKey); !ok {
		return nil, errors.New("the key is none of ECDSA")
	}
	der, err := key.Sign(nil, digest, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var r, s []byte
	inner, outer := cryptobyte.String(nil), cryptobyte.String(der)
	if !outer.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || len(r) > size || len(s) > size {
		return nil, errors.New("the signature is none of P-256")
	}
	signature := make([]byte, 2*size)
	copy(signature[size-len(r):], r)
	copy(signature[2*size-len(s):], s)
	return signature, nil
}
