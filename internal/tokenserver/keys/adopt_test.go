// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// TestAnOlderSetNeverReplacesANewerOne plays reads of the signing keys that end
// in another order than the one in which they began.
func TestAnOlderSetNeverReplacesANewerOne(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	var known []signingKey
	var all []storage.SigningKey
	for n := range 8 {
		record := storage.SigningKey{ID: fmt.Sprint("key-", n), Algorithm: ES256, CreatedAt: epoch, ActiveAt: epoch}
		known, all = append(known, signingKey{record: record, private: private}), append(all, record)
	}
	rapid.Check(t, func(rt *rapid.T) {
		k := &Keyring{}
		k.options.setDefaults()
		k.signing.Store(&signingSet{keys: known, public: map[string]PublicKey{}})
		// The set of version n is the keys from n on: each version revokes a key.
		newest := int64(0)
		for _, version := range rapid.SliceOfN(rapid.Int64Range(1, 7), 1, 20).Draw(rt, "reads") {
			before := k.signing.Load().keys
			require.NoError(rt, k.adopt(storage.SigningKeySet{Version: version, Keys: all[version:]}))
			if version < newest {
				require.Equal(rt, before, k.signing.Load().keys)
			}
			newest = max(newest, version)
			require.Equal(rt, newest, k.signing.Load().version)
			_, revoked := k.Public(all[newest-1].ID)
			require.False(rt, revoked, "a revoked key came back")
			_, published := k.Public(all[newest].ID)
			require.True(rt, published)
		}
	})
}
