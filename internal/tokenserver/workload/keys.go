// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
)

const (
	// maxSetLength is how long a JWK Set may be, in bytes.
	maxSetLength = 256 << 10
	// maxKeys is how many keys it may hold.
	maxKeys = 100
	// RSA keys that are shorter are weak, longer ones only make verification slow.
	minRSABits, maxRSABits = 2048, 8192
)

// key is a public key of an issuer. An empty id or algorithm fits any.
type key struct {
	id, algorithm string
	public        crypto.PublicKey
}

type keySet []key

// parseKeys reads a JWK Set. Keys that cannot verify a signature are left out, as
// https://www.rfc-editor.org/rfc/rfc7517#section-5 says; it is an error when none
// is left, or when one is private.
func parseKeys(text []byte) (keySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is not a JWK Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the JWK Set has %d keys, at most %d are taken", len(set.Keys), maxKeys)
	}
	var keys keySet
	for i, raw := range set.Keys {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(raw); err != nil || jwk.Use != "" && jwk.Use != "sig" {
			continue
		}
		switch jwk.Key.(type) {
		case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
			return nil, fmt.Errorf("keys[%d] of the JWK Set is a private key: treat it as disclosed", i)
		}
		if verifies(jwk.Key) {
			keys = append(keys, key{jwk.KeyID, jwk.Algorithm, jwk.Key})
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the JWK Set holds no RSA key of 2048 to 8192 bits, EC or Ed25519 key for signatures")
	}
	return keys, nil
}

func verifies(public any) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		bits := public.N.BitLen()
		return bits >= minRSABits && bits <= maxRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// named are the keys that a header may mean.
func (s keySet) named(h assertion.Header) []crypto.PublicKey {
	var named []crypto.PublicKey
	for _, k := range s {
		if (k.id == "" || h.KeyID == "" || k.id == h.KeyID) && (k.algorithm == "" || k.algorithm == h.Algorithm) {
			named = append(named, k.public)
		}
	}
	return named
}

// errUnknownKey says that the issuer is known to have no such key.
var errUnknownKey = errors.New("it has no key of the kid and alg in the header")

// verify checks a token with the keys that its header may mean.
func verify(raw string, named []crypto.PublicKey, policy assertion.Policy) (*assertion.Claims, error) {
	if len(named) == 0 {
		return nil, errUnknownKey
	}
	claims, err := assertion.Verify(raw, named, policy)
	if errors.Is(err, assertion.ErrSignature) {
		return nil, errors.New("the signature is not one of its keys")
	}
	return claims, err
}

// KeyFile is the JWK Set of an issuer in a file.
type KeyFile struct {
	path string
	keys atomic.Pointer[keySet]
}

// NewKeyFile reads the file. The error says what is wrong with it.
func NewKeyFile(path string) (*KeyFile, error) {
	f := &KeyFile{path: path}
	return f, f.Reload()
}

// Reload reads the file again; after an error the earlier keys stay in use.
func (f *KeyFile) Reload() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxSetLength+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxSetLength:
		return fmt.Errorf("%s is longer than %d bytes", f.path, maxSetLength)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.keys.Store(&keys)
	return nil
}

// Claims implements Source.
func (f *KeyFile) Claims(_ context.Context, raw string, policy assertion.Policy) (*assertion.Claims, error) {
	header, err := assertion.HeaderOf(raw)
	if err != nil {
		return nil, err
	}
	return verify(raw, f.keys.Load().named(header), policy)
}
