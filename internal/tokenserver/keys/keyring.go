// SPDX-License-Identifier: Apache-2.0

// Package keys owns the token server's keys: encryption keys from files, which
// wrap the data keys and the private signing keys of the database, and the
// rotation of the signing keys. It knows nothing of tokens.
package keys

import (
	"context"
	"crypto"
	"crypto/cipher"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Options tune a Keyring; zero values mean the defaults of the fields.
type Options struct {
	// Now is the clock.
	Now func() time.Time
	// PublishBefore is how long a key is published before it signs: 1 h.
	PublishBefore time.Duration
	// RotateEvery is how long a key signs: 30 days.
	RotateEvery time.Duration
	// KeepFor is how long a key stays published after it stopped signing: the
	// longest life of what it signed, and some skew. 24 h.
	KeepFor time.Duration
	// Existing makes a database without keys an error, ErrNone.
	Existing bool

	// generate makes a private key; tests make weaker ones faster.
	generate func(algorithm string) (crypto.Signer, error)
}

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.generate == nil {
		o.generate = generate
	}
	for value, def := range map[*time.Duration]time.Duration{
		&o.PublishBefore: time.Hour, &o.RotateEvery: 30 * 24 * time.Hour, &o.KeepFor: 24 * time.Hour,
	} {
		if *value == 0 {
			*value = def
		}
	}
}

// Signer signs with one private key.
type Signer struct {
	KeyID     string
	Algorithm string
	Key       crypto.Signer
}

// PublicKey verifies what the Signer of the same id signed.
type PublicKey struct {
	KeyID     string
	Algorithm string
	Key       crypto.PublicKey
}

// Keyring holds the keys in memory. It is safe for concurrent use.
type Keyring struct {
	store      storage.Keys
	encryption *EncryptionKeys
	options    Options
	data       map[storage.DataKeyPurpose][]byte
	sealing    cipher.AEAD
	signing    atomic.Pointer[signingSet]
	// adopting keeps an older set from replacing a newer one.
	adopting sync.Mutex
}

// signingSet is one immutable view of the signing keys.
type signingSet struct {
	version int64
	keys    []signingKey
	public  map[string]PublicKey
}

type signingKey struct {
	record  storage.SigningKey
	private crypto.Signer
}

// Open reads the keys of a database and, on a new one, makes the first, unless
// Options say that they exist: ErrNone. It never makes keys beside existing ones:
// ErrWrongKey when the encryption keys do not fit.
func Open(ctx context.Context, store storage.Keys, encryption *EncryptionKeys, options Options) (*Keyring, error) {
	options.setDefaults()
	k := &Keyring{store: store, encryption: encryption, options: options}
	if err := k.loadDataKeys(ctx); err != nil {
		return nil, err
	}
	if err := k.Reload(ctx); err != nil {
		return nil, err
	}
	// Also makes the first keys of a new database.
	if err := k.Maintain(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// None is a Keyring of no keys, for a server whose database was not opened yet.
func None() *Keyring {
	k := &Keyring{}
	k.options.setDefaults()
	k.signing.Store(&signingSet{})
	return k
}

// Check opens every key of a database, writes nothing and returns how many there
// are. Errors: ErrWrongKey when one cannot be opened; another when a data key is
// missing.
func Check(ctx context.Context, store storage.KeyReader, encryption *EncryptionKeys) (int, error) {
	k := &Keyring{encryption: encryption}
	records, err := store.DataKeys(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading data keys: %w", err)
	}
	if err := k.openDataKeys(records); err != nil {
		return 0, err
	}
	signing, err := store.SigningKeys(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading signing keys: %w", err)
	}
	for _, record := range signing.Keys {
		if _, err := k.open(record, nil); err != nil {
			return 0, err
		}
	}
	return len(records) + len(signing.Keys), nil
}

var purposes = []storage.DataKeyPurpose{
	storage.PurposeSecretHash, storage.PurposeRefresh, storage.PurposeSealing, storage.PurposeCookie,
}

func (k *Keyring) loadDataKeys(ctx context.Context) error {
	records, err := k.store.DataKeys(ctx)
	if err != nil {
		return fmt.Errorf("reading data keys: %w", err)
	}
	if len(records) == 0 {
		if records, err = k.firstDataKeys(ctx); err != nil {
			return err
		}
	}
	return k.openDataKeys(records)
}

func (k *Keyring) openDataKeys(records []storage.DataKey) (err error) {
	k.data = map[storage.DataKeyPurpose][]byte{}
	for _, record := range records {
		if k.data[record.Purpose], err = k.encryption.unwrap(record.Wrapped, record.WrappedBy, string(record.Purpose)); err != nil {
			return err
		}
	}
	for _, purpose := range purposes {
		if len(k.data[purpose]) != KeySize {
			return fmt.Errorf("the database holds no data key for %s: restore it from a backup", purpose)
		}
	}
	k.sealing, err = newAEAD(k.data[storage.PurposeSealing])
	return err
}

// firstDataKeys makes the data keys of a new database. One that has signing keys
// is not new: it has lost what its secrets are hashed with.
func (k *Keyring) firstDataKeys(ctx context.Context) ([]storage.DataKey, error) {
	signing, err := k.store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	if len(signing.Keys) > 0 {
		return nil, errors.New("the database holds signing keys but no data keys: restore it from a backup")
	}
	if k.options.Existing {
		return nil, ErrNone
	}
	return k.createDataKeys(ctx)
}

func (k *Keyring) createDataKeys(ctx context.Context) ([]storage.DataKey, error) {
	var records []storage.DataKey
	for _, purpose := range purposes {
		key := make([]byte, KeySize)
		_, _ = rand.Read(key)
		wrapped, by := k.encryption.wrap(key, string(purpose))
		records = append(records, storage.DataKey{Purpose: purpose, Wrapped: wrapped, WrappedBy: by, CreatedAt: k.options.Now()})
	}
	err := k.store.CreateDataKeys(ctx, records)
	if errors.Is(err, storage.ErrAlreadyExists) {
		return k.store.DataKeys(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("storing data keys: %w", err)
	}
	return records, nil
}

// DataKey returns the 32 bytes for a purpose.
func (k *Keyring) DataKey(purpose storage.DataKeyPurpose) []byte { return k.data[purpose] }

// Seal encrypts a value that must be shown again; label is bound to it and is
// needed to open it.
func (k *Keyring) Seal(plain, label []byte) ([]byte, error) {
	return seal(k.sealing, plain, label), nil
}

// Unseal opens what Seal made under the same label.
func (k *Keyring) Unseal(sealed, label []byte) ([]byte, error) {
	plain, err := unseal(k.sealing, sealed, label)
	if err != nil {
		return nil, fmt.Errorf("opening a sealed value: %w", err)
	}
	return plain, nil
}

// Signer returns the key that signs now with the algorithm: ES256 or RS256.
func (k *Keyring) Signer(algorithm string) (Signer, error) {
	active := k.active(algorithm)
	if active == nil {
		return Signer{}, fmt.Errorf("no %s key is active", algorithm)
	}
	return Signer{KeyID: active.record.ID, Algorithm: algorithm, Key: active.private}, nil
}

// Life tells since when the key that signs now with the algorithm does, and when
// the next is to: the zero times without one that signs. published is how many keys
// of the algorithm are in the JWK Set. It never waits.
func (k *Keyring) Life(algorithm string) (since, until time.Time, published int) {
	for _, key := range k.signing.Load().keys {
		if key.record.Algorithm == algorithm {
			published++
		}
	}
	active := k.active(algorithm)
	if active == nil {
		return time.Time{}, time.Time{}, published
	}
	return active.record.ActiveAt, k.next(active.record), published
}

// next is when another key than the one that signs is to: a successor that is made
// already knows better than the schedule.
func (k *Keyring) next(active storage.SigningKey) time.Time {
	for _, key := range k.signing.Load().keys {
		if key.record.Algorithm == active.Algorithm && key.record.RetiredAt.IsZero() && key.record.ActiveAt.After(active.ActiveAt) {
			return key.record.ActiveAt
		}
	}
	return active.ActiveAt.Add(k.options.RotateEvery)
}

// active is the key that signs; nil when there is none.
func (k *Keyring) active(algorithm string) *signingKey {
	now := k.options.Now()
	set := k.signing.Load()
	var next *signingKey
	// The newest active one signs. When none is active yet, because the clock of
	// the replica that made it is ahead, the one that is to be next signs.
	for i, key := range slices.Backward(set.keys) {
		if key.record.Algorithm != algorithm || !key.record.RetiredAt.IsZero() {
			continue
		}
		next = &set.keys[i]
		if !key.record.ActiveAt.After(now) {
			break
		}
	}
	return next
}

// Public returns the published key with that id.
func (k *Keyring) Public(keyID string) (PublicKey, bool) {
	key, ok := k.signing.Load().public[keyID]
	return key, ok
}

// Published returns the keys of the JWK Set, oldest first.
func (k *Keyring) Published() []PublicKey {
	set := k.signing.Load()
	published := make([]PublicKey, 0, len(set.keys))
	for _, key := range set.keys {
		published = append(published, set.public[key.record.ID])
	}
	return published
}

// Reload reads the signing keys again, as after another replica changed them.
func (k *Keyring) Reload(ctx context.Context) error {
	records, err := k.store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	return k.adopt(records)
}

// Restore reads the signing keys of a database that has gone back in time: they are
// taken over though their version is older.
func (k *Keyring) Restore(ctx context.Context) error {
	records, err := k.store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	k.adopting.Lock()
	defer k.adopting.Unlock()
	return k.replace(records)
}

// adopt takes a set over unless a newer one is known: reads of the database do
// not end in the order in which they began.
func (k *Keyring) adopt(records storage.SigningKeySet) error {
	k.adopting.Lock()
	defer k.adopting.Unlock()
	if known := k.signing.Load(); known != nil && records.Version < known.version {
		return nil
	}
	return k.replace(records)
}

// replace is called with adopting held.
func (k *Keyring) replace(records storage.SigningKeySet) error {
	known := k.signing.Load()
	set := &signingSet{version: records.Version, public: map[string]PublicKey{}}
	now := k.options.Now()
	for _, record := range inOrder(records.Keys) {
		if !record.ExpiresAt.IsZero() && !record.ExpiresAt.After(now) {
			continue
		}
		key, err := k.open(record, known)
		if err != nil {
			return err
		}
		set.keys = append(set.keys, key)
		set.public[record.ID] = PublicKey{KeyID: record.ID, Algorithm: record.Algorithm, Key: key.private.Public()}
	}
	k.signing.Store(set)
	return nil
}

// open unwraps a key unless it is known already.
func (k *Keyring) open(record storage.SigningKey, known *signingSet) (signingKey, error) {
	if known != nil {
		if i := slices.IndexFunc(known.keys, func(s signingKey) bool { return s.record.ID == record.ID }); i >= 0 {
			return signingKey{record: record, private: known.keys[i].private}, nil
		}
	}
	der, err := k.encryption.unwrap(record.Wrapped, record.WrappedBy, record.ID)
	if err != nil {
		return signingKey{}, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return signingKey{}, fmt.Errorf("parsing signing key %s: %w", record.ID, err)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return signingKey{}, fmt.Errorf("signing key %s cannot sign", record.ID)
	}
	return signingKey{record: record, private: signer}, nil
}

// Rewrap wraps every key of the database anew with the first encryption key.
func (k *Keyring) Rewrap(ctx context.Context) (rewrapped int, err error) {
	err = k.store.RewrapKeys(ctx, func(name string, wrapped []byte, by string) ([]byte, string, error) {
		plain, err := k.encryption.unwrap(wrapped, by, name)
		if err != nil {
			return nil, "", err
		}
		rewrapped++
		wrapped, by = k.encryption.wrap(plain, name)
		return wrapped, by, nil
	})
	return rewrapped, err
}
