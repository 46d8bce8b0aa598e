// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// database is one database and the clock of the keyrings on it.
type database struct {
	storage.Storage
	now time.Time
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), epoch)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return &database{Storage: store, now: epoch}
}

func (d *database) options() Options {
	return Options{Now: func() time.Time { return d.now }, generate: func(string) (crypto.Signer, error) {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}}
}

func (d *database) open(t *testing.T, e *EncryptionKeys) *Keyring {
	t.Helper()
	k, err := Open(t.Context(), d, e, d.options())
	require.NoError(t, err)
	return k
}

func signerID(t require.TestingT, k *Keyring, algorithm string) string {
	signer, err := k.Signer(algorithm)
	require.NoError(t, err)
	return signer.KeyID
}

func TestANewDatabaseGetsKeysOfBothAlgorithms(t *testing.T) {
	d := newDatabase(t)
	k, err := Open(t.Context(), d, encryptionKeys(t, 1), Options{Now: func() time.Time { return d.now }})
	require.NoError(t, err)
	require.Len(t, k.Published(), 2)
	digest := sha256.Sum256([]byte("signed"))

	ec, err := k.Signer(ES256)
	require.NoError(t, err)
	signature, err := ec.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	require.NoError(t, err)
	public, ok := k.Public(ec.KeyID)
	require.True(t, ok)
	require.True(t, ecdsa.VerifyASN1(public.Key.(*ecdsa.PublicKey), digest[:], signature))

	rs, err := k.Signer(RS256)
	require.NoError(t, err)
	require.Equal(t, 2048, rs.Key.Public().(*rsa.PublicKey).N.BitLen())
	_, err = k.Signer("HS256")
	require.ErrorContains(t, err, "no HS256 key is active")
	_, ok = k.Public("unknown")
	require.False(t, ok)
}

func TestARestartKeepsEveryKey(t *testing.T) {
	d, e := newDatabase(t), encryptionKeys(t, 1)
	before := d.open(t, e)
	after := d.open(t, e)
	require.Equal(t, before.Published(), after.Published())
	seen := map[string]bool{}
	for _, purpose := range purposes {
		require.Len(t, before.DataKey(purpose), KeySize)
		require.Equal(t, before.DataKey(purpose), after.DataKey(purpose))
		require.False(t, seen[string(before.DataKey(purpose))], "each purpose has a key of its own")
		seen[string(before.DataKey(purpose))] = true
	}
}

func TestAWrongKeyIsRefusedAndChangesNothing(t *testing.T) {
	d := newDatabase(t)
	before := d.open(t, encryptionKeys(t, 1))
	dataKeys, err := d.DataKeys(t.Context())
	require.NoError(t, err)

	_, err = Open(t.Context(), d, encryptionKeys(t, 2), d.options())
	require.ErrorIs(t, err, ErrWrongKey)

	unchanged, err := d.DataKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, dataKeys, unchanged)
	require.Equal(t, before.Published(), d.open(t, encryptionKeys(t, 1)).Published())
}

// lostDataKeys is a database whose data keys are gone.
type lostDataKeys struct {
	storage.Keys
	left []storage.DataKey
}

func (l *lostDataKeys) DataKeys(context.Context) ([]storage.DataKey, error) { return l.left, nil }

func TestKeysAreNeverMadeBesideExistingOnes(t *testing.T) {
	d, e := newDatabase(t), encryptionKeys(t, 1)
	d.open(t, e)
	all, err := d.DataKeys(t.Context())
	require.NoError(t, err)
	for name, test := range map[string]struct {
		left []storage.DataKey
		want string
	}{
		"all data keys are gone": {nil, "holds signing keys but no data keys: restore it from a backup"},
		"one data key is gone":   {all[1:], "holds no data key for " + string(all[0].Purpose) + ": restore it from a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), &lostDataKeys{Keys: d, left: test.left}, e, d.options())
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestTwoReplicasOnANewDatabaseAgree(t *testing.T) {
	d, e := newDatabase(t), encryptionKeys(t, 1)
	rings := make(chan *Keyring, 2)
	for range 2 {
		go func() {
			k, err := Open(t.Context(), d, e, d.options())
			if err != nil {
				t.Errorf("opening keys: %v", err)
			}
			rings <- k
		}()
	}
	one, other := <-rings, <-rings
	require.NoError(t, one.Reload(t.Context()))
	require.NoError(t, other.Reload(t.Context()))
	require.Len(t, one.Published(), 2)
	require.Equal(t, one.Published(), other.Published())
	require.Equal(t, one.DataKey(storage.PurposeCookie), other.DataKey(storage.PurposeCookie))
}

func TestRewrapChangesOnlyTheEncryption(t *testing.T) {
	d := newDatabase(t)
	before := d.open(t, encryptionKeys(t, 1))
	sealed, err := before.Seal([]byte("cas_x"), []byte("client"))
	require.NoError(t, err)

	// A new key in front decrypts nothing yet; the old one still does.
	between := d.open(t, encryptionKeys(t, 2, 1))
	n, err := between.Rewrap(t.Context())
	require.NoError(t, err)
	require.Equal(t, len(purposes)+len(algorithms), n)

	after := d.open(t, encryptionKeys(t, 2))
	require.Equal(t, before.Published(), after.Published())
	plain, err := after.Unseal(sealed, []byte("client"))
	require.NoError(t, err)
	require.Equal(t, "cas_x", string(plain))
	_, err = Open(t.Context(), d, encryptionKeys(t, 1), d.options())
	require.ErrorIs(t, err, ErrWrongKey, "the old key alone opens it no more")
}

func TestASealedValueOpensOnlyUnderItsLabel(t *testing.T) {
	k := newDatabase(t).open(t, encryptionKeys(t, 1))
	sealed, err := k.Seal([]byte("cas_x"), []byte("client a"))
	require.NoError(t, err)
	again, err := k.Seal([]byte("cas_x"), []byte("client a"))
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "equal values do not look equal")
	_, err = k.Unseal(sealed, []byte("client b"))
	require.ErrorContains(t, err, "opening a sealed value")
	_, err = k.Unseal(sealed[:5], []byte("client a"))
	require.ErrorContains(t, err, "too short")
}
