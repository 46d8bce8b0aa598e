// SPDX-License-Identifier: Apache-2.0

package ended_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

func always(string) bool { return true }

// TestReplicasAgreeOnAnEpochThatWasLost: the clock of the replica that raised it may
// be ahead of that of the one which raises it again.
func TestReplicasAgreeOnAnEpochThatWasLost(t *testing.T) {
	lost, d := newDisk(t), newDisk(t)
	now := storagetest.Epoch
	epoch, err := lost.RaiseEpoch(t.Context(), storage.EpochUser, "u", now.Add(5*time.Second))
	require.NoError(t, err)
	moved := &movable{Storage: lost}
	knows, fresh := ended.New(moved, func() time.Time { return now }), ended.New(d, func() time.Time { return now })
	require.NoError(t, knows.Load(t.Context()))
	holder := ended.Holder{UserID: "u"}
	require.Equal(t, epoch.Value, knows.Epochs(holder).User)

	moved.Storage = d
	again, err := knows.Restore(t.Context(), always)
	require.NoError(t, err)
	require.Equal(t, 1, again)
	require.NoError(t, fresh.Load(t.Context()))
	require.Equal(t, knows.Epochs(holder), fresh.Epochs(holder), "what one issues the other takes")
	require.NotEqual(t, epoch.Value, fresh.Epochs(holder).User, "and nothing of before")
}

// movable is a database whose address leads elsewhere.
type movable struct{ storage.Storage }

// TestARestoredDatabaseIsAskedOnceWhateverHasEnded: a replica has limited time to
// read everything anew.
func TestARestoredDatabaseIsAskedOnceWhateverHasEnded(t *testing.T) {
	const many = 20
	c := newCounted(t)
	l := ended.New(c, func() time.Time { return storagetest.Epoch })
	for n := range many {
		require.NoError(t, l.EndToken(t.Context(), fmt.Sprint(n), storagetest.Epoch.Add(time.Hour)))
	}
	statements, err := c.of(func() error {
		again, err := l.Restore(t.Context(), always)
		require.Zero(t, again)
		return err
	})
	require.NoError(t, err)
	require.Less(t, len(statements), many/2)
}
