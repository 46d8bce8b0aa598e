// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Algorithms that are signed with: access tokens and id_tokens.
const (
	ES256 = "ES256"
	RS256 = "RS256"
)

var algorithms = []string{ES256, RS256}

// A signing key's life:
//
//	made ──PublishBefore──▶ active (signs) ──RotateEvery──▶ retired ──KeepFor──▶ expired
//	└───────────────────────────── published in the JWK Set ──────────────────┘
//
// The successor is made PublishBefore ahead of the end, so that whoever caches
// the JWK Set knows it before it signs. The first key of a database, which has
// no predecessor, is active at once.

// Maintain does what is due in the life of the keys and stores it. It writes
// nothing when nothing is due.
func (k *Keyring) Maintain(ctx context.Context) error {
	now := k.options.Now()
	due, err := k.advance(k.records(), now)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(due, k.records()) {
		return nil
	}
	return k.update(ctx, func(keys []storage.SigningKey) ([]storage.SigningKey, error) { return k.advance(keys, now) })
}

// Rotate makes new keys now instead of when they are due. They sign after
// PublishBefore; with immediately they sign at once, for emergencies. With
// revoke the earlier keys leave the JWK Set at once, and every token they
// signed is refused from then on.
func (k *Keyring) Rotate(ctx context.Context, immediately, revoke bool) error {
	now := k.options.Now()
	return k.update(ctx, func(keys []storage.SigningKey) ([]storage.SigningKey, error) {
		active := now.Add(k.options.PublishBefore)
		if immediately || revoke {
			active = now
		}
		for _, algorithm := range algorithms {
			key, err := k.newKey(algorithm, now, active)
			if err != nil {
				return nil, err
			}
			keys = append(keys, key)
		}
		if revoke {
			keys = keys[len(keys)-len(algorithms):]
		}
		return k.advance(keys, now)
	})
}

func (k *Keyring) records() []storage.SigningKey {
	var records []storage.SigningKey
	for _, key := range k.signing.Load().keys {
		records = append(records, key.record)
	}
	return records
}

func (k *Keyring) update(ctx context.Context, change func([]storage.SigningKey) ([]storage.SigningKey, error)) error {
	records, err := k.store.UpdateSigningKeys(ctx, k.options.Now(), change)
	if err != nil {
		return fmt.Errorf("storing signing keys: %w", err)
	}
	return k.adopt(records)
}

// advance returns the keys as they are to be at now.
func (k *Keyring) advance(keys []storage.SigningKey, now time.Time) ([]storage.SigningKey, error) {
	keys = slices.Clone(keys)
	keys = slices.DeleteFunc(keys, func(key storage.SigningKey) bool {
		return !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(now)
	})
	for _, algorithm := range algorithms {
		newest := -1
		for i, key := range keys {
			if key.Algorithm != algorithm {
				continue
			}
			if newest >= 0 && !key.ActiveAt.After(now) && keys[newest].RetiredAt.IsZero() {
				keys[newest].RetiredAt, keys[newest].ExpiresAt = now, now.Add(k.options.KeepFor)
			}
			newest = i
		}
		activeAt := now
		if newest >= 0 {
			ends := keys[newest].ActiveAt.Add(k.options.RotateEvery)
			if now.Before(ends.Add(-k.options.PublishBefore)) {
				continue
			}
			activeAt = maxTime(ends, now.Add(k.options.PublishBefore))
		}
		key, err := k.newKey(algorithm, now, activeAt)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

const rsaBits = 2048

func (k *Keyring) newKey(algorithm string, now, activeAt time.Time) (storage.SigningKey, error) {
	var private crypto.Signer
	var err error
	switch algorithm {
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return storage.SigningKey{}, fmt.Errorf("generating a signing key: %w", err)
	}
	id, err := thumbprint(private.Public())
	if err != nil {
		return storage.SigningKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return storage.SigningKey{}, fmt.Errorf("encoding signing key %s: %w", id, err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return storage.SigningKey{}, fmt.Errorf("encoding public key %s: %w", id, err)
	}
	wrapped, by := k.encryption.wrap(der, id)
	now, activeAt = now.UTC().Truncate(time.Microsecond), activeAt.UTC().Truncate(time.Microsecond)
	return storage.SigningKey{
		ID: id, Algorithm: algorithm, Public: public, Wrapped: wrapped, WrappedBy: by, CreatedAt: now, ActiveAt: activeAt,
	}, nil
}

// thumbprint is the key's id.
// https://www.rfc-editor.org/rfc/rfc7638
func thumbprint(public crypto.PublicKey) (string, error) {
	jwk := jose.JSONWebKey{Key: public}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("computing a key's thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
