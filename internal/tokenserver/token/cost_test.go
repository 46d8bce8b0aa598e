// SPDX-License-Identifier: Apache-2.0

package token_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// crowded is a database that says that so many tokens have ended.
type crowded struct {
	storage.Storage
	active int
}

func (c crowded) EndedTokens(context.Context, time.Time) ([]storage.EndedToken, error) {
	tokens := make([]storage.EndedToken, c.active)
	for i := range tokens {
		tokens[i] = storage.EndedToken{Kind: storage.EndedAccessToken, Key: fmt.Sprint("old-", i), ExpiresAt: time.Now().Add(time.Hour)}
	}
	return tokens, nil
}

// TestVerifyingAllocatesTheSameHoweverManyHaveEnded verifies one token beside
// none and beside 20,000 that have ended.
func TestVerifyingAllocatesTheSameHoweverManyHaveEnded(t *testing.T) {
	folder := t.TempDir()
	store, err := sqlite.Open(t.Context(), filepath.Join(folder, "db"), storagetest.Epoch)
	require.NoError(t, err)
	defer func() { _ = store.Close() }()
	app, err := store.CreateApp(t.Context(), storagetest.App(1))
	require.NoError(t, err)
	key := make([]byte, keys.KeySize)
	_, _ = rand.Read(key)
	file := filepath.Join(folder, "key")
	require.NoError(t, os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(key)), 0o600))
	encryption, err := keys.LoadEncryptionKeys([]string{file})
	require.NoError(t, err)
	keyring, err := keys.Open(t.Context(), store, encryption, keys.Options{})
	require.NoError(t, err)
	view := clients.New(store, directory.NewLive(directory.New([]directory.Organization{{ID: app.OrgID}}, nil)))
	require.NoError(t, view.Load(t.Context()))
	issuer := &token.Issuer{Keys: keyring, Issuer: "https://tokens.example", Lifetime: time.Hour, Now: time.Now}
	raw, err := issuer.Issue(&token.AccessToken{Subject: app.ClientID, ClientID: app.ClientID, OrgID: app.OrgID, Scopes: []string{"profile"}})
	require.NoError(t, err)

	allocations := func(active int) float64 {
		ledger := ended.New(crowded{store, active}, time.Now)
		require.NoError(t, ledger.Load(t.Context()))
		require.Equal(t, active, ledger.Active())
		verifier := &token.Verifier{Keys: keyring, Issuer: issuer.Issuer, Now: time.Now, Apps: view, Ended: ledger}
		return testing.AllocsPerRun(50, func() {
			if _, err := verifier.Verify(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
		})
	}
	require.InDelta(t, allocations(0), allocations(20_000), 1)
}
