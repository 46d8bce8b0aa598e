// SPDX-License-Identifier: Apache-2.0

package assertion_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

// losing is a storage that writes and loses its answer, or does neither.
type losing struct {
	storage.Assertions
	written, lost bool
}

func (l *losing) UseAssertion(ctx context.Context, clientID, jti string, expiresAt time.Time) error {
	if l.written {
		if err := l.Assertions.UseAssertion(ctx, clientID, jti, expiresAt); err != nil {
			return err
		}
	}
	if l.lost {
		return storage.ErrUnavailable
	}
	return nil
}

func newUses(t *testing.T) (*losing, func(jti string) (func(), error)) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), time.Now())
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	l := &losing{Assertions: store, written: true}
	uses := &assertion.Uses{Store: l, Now: time.Now}
	end := time.Now().Add(time.Minute)
	return l, func(jti string) (func(), error) { return uses.Use(t.Context(), "app", jti, end) }
}

func TestAnAssertionCountsOnce(t *testing.T) {
	_, use := newUses(t)
	_, err := use("a")
	require.NoError(t, err)
	_, err = use("a")
	require.ErrorIs(t, err, assertion.ErrUsed)
	_, err = use("b")
	require.NoError(t, err)
}

func TestAUseThatAFaultMadeWorthlessIsForgivenOnce(t *testing.T) {
	_, use := newUses(t)
	forgive, err := use("a")
	require.NoError(t, err)
	forgive()
	_, err = use("a")
	require.NoError(t, err)
	_, err = use("a")
	require.ErrorIs(t, err, assertion.ErrUsed)
}

func TestAUseWhoseAnswerWasLostMayBeRepeatedOnce(t *testing.T) {
	for name, written := range map[string]bool{"written": true, "not written": false} {
		t.Run(name, func(t *testing.T) {
			store, use := newUses(t)
			store.written, store.lost = written, true
			_, err := use("a")
			require.ErrorIs(t, err, storage.ErrUnavailable)
			store.written, store.lost = true, false
			_, err = use("a")
			require.NoError(t, err)
			_, err = use("a")
			require.ErrorIs(t, err, assertion.ErrUsed)
		})
	}
}

func TestAFaultBringsNoUsedAssertionBack(t *testing.T) {
	store, use := newUses(t)
	_, err := use("a")
	require.NoError(t, err)
	store.written, store.lost = false, true
	_, err = use("a") // by a thief, while the storage does not answer
	require.ErrorIs(t, err, storage.ErrUnavailable)
	store.written, store.lost = true, false
	_, err = use("a")
	require.ErrorIs(t, err, assertion.ErrUsed)
}

func TestAnOutageTakesBoundedMemory(t *testing.T) {
	store, use := newUses(t)
	store.written, store.lost = false, true
	for i := range 10_001 {
		_, err := use(fmt.Sprint(i))
		require.ErrorIs(t, err, storage.ErrUnavailable)
	}
	store.written = true
	_, err := use("10000")
	require.ErrorIs(t, err, storage.ErrUnavailable)
	store.lost = false
	_, err = use("10000")
	require.ErrorIs(t, err, assertion.ErrUsed, "beyond the bound, a use in doubt counts")
}

func TestALookAtAnAssertionUsesNothingUp(t *testing.T) {
	l, use := newUses(t)
	uses := &assertion.Uses{Store: l, Now: time.Now}
	require.NoError(t, uses.Check(t.Context(), "app", "a"))
	_, err := use("a")
	require.NoError(t, err, "nobody used it")
	require.ErrorIs(t, uses.Check(t.Context(), "app", "a"), assertion.ErrUsed)
	forgive, err := uses.Use(t.Context(), "app", "b", time.Now().Add(time.Minute))
	require.NoError(t, err)
	require.ErrorIs(t, uses.Check(t.Context(), "app", "b"), assertion.ErrUsed)
	forgive()
	require.NoError(t, uses.Check(t.Context(), "app", "b"), "a fault made that use worthless")
}
