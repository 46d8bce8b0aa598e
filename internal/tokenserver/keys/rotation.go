// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"cmp"
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
	now := k.now()
	// The same key is taken in both rounds: making one takes long, and the second
	// is in a transaction.
	factory := k.newFactory(now)
	known := k.records()
	due, err := k.advance(known, now, factory)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(due, known) {
		return nil
	}
	return k.update(ctx, func(keys []storage.SigningKey) ([]storage.SigningKey, error) { return k.advance(keys, now, factory) })
}

// Rotate makes new keys now instead of when they are due. They sign after
// PublishBefore; with immediately they sign at once, for emergencies. With
// revoke the earlier keys leave the JWK Set at once, and every token they
// signed is refused from then on.
func (k *Keyring) Rotate(ctx context.Context, immediately, revoke bool) error {
	now := k.now()
	activeAt := now.Add(k.options.PublishBefore)
	if immediately || revoke {
		activeAt = now
	}
	factory := k.newFactory(now)
	var made []storage.SigningKey
	for _, algorithm := range algorithms {
		key, err := factory.make(algorithm, activeAt)
		if err != nil {
			return err
		}
		made = append(made, key)
	}
	return k.update(ctx, func(keys []storage.SigningKey) ([]storage.SigningKey, error) {
		if revoke {
			keys = nil
		}
		return k.advance(append(keys, made...), now, factory)
	})
}

// now is the clock in the precision of the database.
func (k *Keyring) now() time.Time { return k.options.Now().UTC().Truncate(time.Microsecond) }

func (k *Keyring) records() []storage.SigningKey {
	var records []storage.SigningKey
	for _, key := range k.signing.Load().keys {
		records = append(records, key.record)
	}
	return records
}

func (k *Keyring) update(ctx context.Context, change func([]storage.SigningKey) ([]storage.SigningKey, error)) error {
	records, err := k.store.UpdateSigningKeys(ctx, change)
	if err != nil {
		return fmt.Errorf("storing signing keys: %w", err)
	}
	return k.adopt(records)
}

// advance returns the keys, oldest first, as they are to be at now.
func (k *Keyring) advance(keys []storage.SigningKey, now time.Time, factory *factory) ([]storage.SigningKey, error) {
	keys = inOrder(keys)
	keys = slices.DeleteFunc(keys, func(key storage.SigningKey) bool {
		return !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(now)
	})
	for _, algorithm := range algorithms {
		k.retire(keys, algorithm, now)
		activeAt, due := k.successor(keys, algorithm, now)
		if !due {
			continue
		}
		key, err := factory.make(algorithm, activeAt)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// inOrder returns the keys oldest first, in the same order on every replica.
func inOrder(keys []storage.SigningKey) []storage.SigningKey {
	return slices.SortedFunc(slices.Values(keys), func(a, b storage.SigningKey) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), a.ActiveAt.Compare(b.ActiveAt), cmp.Compare(a.ID, b.ID))
	})
}

// retire ends every key that is older than the one that signs, also one that
// was still to sign when a later one was made to sign at once.
func (k *Keyring) retire(keys []storage.SigningKey, algorithm string, now time.Time) {
	signing := false
	for i, key := range slices.Backward(keys) {
		switch {
		case key.Algorithm != algorithm || !key.RetiredAt.IsZero():
		case signing:
			keys[i].RetiredAt, keys[i].ExpiresAt = now, now.Add(k.options.KeepFor)
		default:
			signing = !key.ActiveAt.After(now)
		}
	}
}

// successor tells whether another key is due and when it is to sign.
func (k *Keyring) successor(keys []storage.SigningKey, algorithm string, now time.Time) (activeAt time.Time, due bool) {
	for _, newest := range slices.Backward(keys) {
		if newest.Algorithm != algorithm {
			continue
		}
		ends := newest.ActiveAt.Add(k.options.RotateEvery)
		return maxTime(ends, now.Add(k.options.PublishBefore)), !now.Before(ends.Add(-k.options.PublishBefore))
	}
	return now, true
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// factory makes at most one key of each algorithm.
type factory struct {
	keyring *Keyring
	now     time.Time
	made    map[string]storage.SigningKey
}

func (k *Keyring) newFactory(now time.Time) *factory {
	return &factory{keyring: k, now: now, made: map[string]storage.SigningKey{}}
}

func (f *factory) make(algorithm string, activeAt time.Time) (storage.SigningKey, error) {
	key, ok := f.made[algorithm]
	if !ok {
		var err error
		if key, err = f.keyring.newKey(algorithm); err != nil {
			return storage.SigningKey{}, err
		}
		key.CreatedAt = f.now
		f.made[algorithm] = key
	}
	key.ActiveAt = activeAt
	return key, nil
}

const rsaBits = 2048

func generate(algorithm string) (crypto.Signer, error) {
	if algorithm == RS256 {
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func (k *Keyring) newKey(algorithm string) (storage.SigningKey, error) {
	private, err := k.options.generate(algorithm)
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
	return storage.SigningKey{ID: id, Algorithm: algorithm, Public: public, Wrapped: wrapped, WrappedBy: by}, nil
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
