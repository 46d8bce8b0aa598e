// SPDX-License-Identifier: Apache-2.0

package storagetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func databaseSize(t *testing.T, s storage.Storage) {
	before, err := s.Size(t.Context())
	require.NoError(t, err)
	require.Positive(t, before)

	const much = 1 << 20
	app := App(1)
	// Engines compress what repeats.
	app.Name = hex.EncodeToString(random(much / 2))
	create(t, s, app)
	after, err := s.Size(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, after, before+much)
	require.Less(t, after, before+4*much)
}

func random(n int) []byte {
	bytes := make([]byte, n)
	_, _ = rand.Read(bytes)
	return bytes
}

func measured(t *testing.T, s storage.Storage) {
	done := map[string]error{}
	s.Measure(func(operation string, took time.Duration, err error) {
		assert.GreaterOrEqual(t, took, time.Duration(0))
		done[operation] = err
	})
	create(t, s, App(1))
	require.Subset(t, done, map[string]error{"begin write": nil, "insert apps": nil, "insert changes": nil, "commit": nil})

	_, err := s.UpdateApp(t.Context(), App(1).ClientID, Epoch, func(a *storage.App) error { a.Name = "other"; return nil })
	require.NoError(t, err)
	require.Contains(t, done, "update apps")
	_, err = s.CollectGarbage(t.Context(), Epoch, 1)
	require.NoError(t, err)
	require.Contains(t, done, "delete revocations")

	_, err = s.App(t.Context(), "unknown")
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.ErrorIs(t, done["select apps"], storage.ErrNotFound)
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	_, err = s.Epochs(late)
	require.ErrorIs(t, err, storage.ErrUnavailable)
	require.ErrorIs(t, done["select epochs"], storage.ErrUnavailable)
}
