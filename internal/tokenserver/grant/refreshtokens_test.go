// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// everyFamily holds a living family under every id.
type everyFamily struct{ storage.RefreshFamilies }

func (everyFamily) Family(_ context.Context, id string) (storage.RefreshFamily, error) {
	return storage.RefreshFamily{ID: id, ClientID: "app", Nonce: []byte("nonce"), Generation: 7, ExpiresAt: time.Unix(1<<33, 0)}, nil
}

// FuzzRefreshToken checks that only what was derived is recognised, in the one
// spelling it was derived in.
func FuzzRefreshToken(f *testing.F) {
	app := clients.Prepare(storage.App{ClientID: "app"})
	holders := &Holders{Ended: ended.New(nil, time.Now)}
	tokens := &RefreshTokens{Store: everyFamily{}, Key: []byte("key"), Now: time.Now, Holders: holders}
	family, err := tokens.Store.Family(f.Context(), "01234567-89ab-4def-8123-456789abcdef")
	require.NoError(f, err)
	derived := tokens.derive(family, 7)
	f.Add(derived)
	f.Add(derived + "=")
	f.Add(derived[:len(derived)-1])
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, tokenBytes)))
	f.Add(derived[:7] + "\r\n" + derived[7:])
	f.Add(derived + "\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, raw string) {
		found, living, err := tokens.Lookup(t.Context(), app, raw)
		require.NoError(t, err)
		require.Equal(t, raw == derived, living)
		if living {
			require.Equal(t, family.ID, found.ID)
		}
	})
}
