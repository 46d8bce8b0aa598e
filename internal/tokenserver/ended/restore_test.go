// SPDX-License-Identifier: Apache-2.0

package ended_test

import (
	"context"
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

// TestOfReplicasThatRestoreAtOnceOneEndsWhatWasIssued: what the faster one issues after
// it is done lives.
func TestOfReplicasThatRestoreAtOnceOneEndsWhatWasIssued(t *testing.T) {
	lost, d := newDisk(t), newDisk(t)
	now := storagetest.Epoch
	_, err := lost.RaiseEpoch(t.Context(), storage.EpochUser, "u", now)
	require.NoError(t, err)
	faster, slower := &movable{Storage: lost}, &slowReader{movable{Storage: lost}, nil}
	fast := ended.New(faster, func() time.Time { return now.Add(time.Second) })
	slow := ended.New(slower, func() time.Time { return now.Add(2 * time.Second) })
	require.NoError(t, fast.Load(t.Context()))
	require.NoError(t, slow.Load(t.Context()))
	faster.Storage, slower.Storage = d, d
	issued := ended.Issued{Holder: ended.Holder{UserID: "u"}}
	slower.meanwhile = func() {
		again, err := fast.Restore(t.Context(), always)
		require.NoError(t, err)
		require.Equal(t, 1, again)
		issued.Epochs = fast.Epochs(issued.Holder)
	}
	again, err := slow.Restore(t.Context(), always)
	require.NoError(t, err)
	require.Zero(t, again)
	require.NoError(t, fast.FollowEpoch(t.Context(), "user u"))
	require.NoError(t, fast.Check(issued))
	require.NoError(t, slow.Check(issued))
}

// slowReader has something happen after it has read the epochs, once.
type slowReader struct {
	movable
	meanwhile func()
}

func (s *slowReader) Epochs(ctx context.Context) ([]storage.Epoch, error) {
	epochs, err := s.movable.Epochs(ctx)
	if do := s.meanwhile; do != nil {
		s.meanwhile = nil
		do()
	}
	return epochs, err
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
