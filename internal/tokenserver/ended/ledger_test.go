// SPDX-License-Identifier: Apache-2.0

package ended_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

func newDisk(t *testing.T) *disk {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), storagetest.Epoch)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return &disk{Storage: store}
}

// TestAReplicaWithTheFormerConfigurationEndsWhatItDid: what it issued after
// another one had observed the change is at the new epoch already.
func TestAReplicaWithTheFormerConfigurationEndsWhatItDid(t *testing.T) {
	d, now := newDisk(t), storagetest.Epoch
	clock := func() time.Time { now = now.Add(time.Second); return now }
	first, behind := ended.New(d, clock), ended.New(d, clock)
	state := func(of string) []storage.Configured {
		return []storage.Configured{{Kind: storage.EpochUser, Key: "u", State: of}}
	}
	for _, l := range []*ended.Ledger{first, behind} {
		require.NoError(t, l.Observe(t.Context(), state("old password")))
	}
	require.NoError(t, first.Observe(t.Context(), state("new password")))
	require.NoError(t, behind.FollowEpoch(t.Context(), "user u"))
	stolen := ended.Issued{Holder: ended.Holder{UserID: "u"}}
	stolen.Epochs = behind.Epochs(stolen.Holder)
	require.NoError(t, first.Check(stolen))

	require.NoError(t, behind.Observe(t.Context(), state("new password")))
	require.NoError(t, first.FollowEpoch(t.Context(), "user u"))
	require.ErrorIs(t, first.Check(stolen), ended.ErrEnded)
}

// failing is a database that cannot observe for a while.
type failing struct {
	*disk
	err error
}

func (f *failing) Observe(ctx context.Context, present []storage.Configured, now time.Time) ([]storage.Epoch, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.disk.Observe(ctx, present, now)
}

func TestAChangeThatCouldNotBeToldIsNotLostWhenItIsTakenBack(t *testing.T) {
	d := &failing{disk: newDisk(t)}
	l := ended.New(d, func() time.Time { return storagetest.Epoch })
	enabled := []storage.Configured{{Kind: storage.EpochUser, Key: "u", State: "enabled"}}
	require.NoError(t, l.Observe(t.Context(), enabled))
	issued := ended.Issued{Holder: ended.Holder{UserID: "u"}}
	for name, away := range map[string][]storage.Configured{
		"disabled": {{Kind: storage.EpochUser, Key: "u"}},
		"removed":  nil,
	} {
		issued.Epochs = l.Epochs(issued.Holder)
		d.err = errors.New("the database does not answer")
		for range 2 {
			require.ErrorIs(t, l.Observe(t.Context(), away), d.err, name)
		}
		d.err = nil
		require.NoError(t, l.Check(issued))
		require.NoError(t, l.Observe(t.Context(), enabled))
		require.ErrorIs(t, l.Check(issued), ended.ErrEnded, name)
	}
}

func TestAnEpochIsNotKnownBeforeTheAppItBelongsTo(t *testing.T) {
	d := newDisk(t)
	l := ended.New(d, func() time.Time { return storagetest.Epoch })
	_, err := d.RaiseEpoch(t.Context(), storage.EpochApp, "app", storagetest.Epoch)
	require.NoError(t, err)
	holder, broken := ended.Holder{ClientID: "app"}, errors.New("the app could not be read")
	require.ErrorIs(t, l.FollowApp(t.Context(), "app", func(context.Context, string) error { return broken }), broken)
	require.Zero(t, l.Epochs(holder).App, "the view still takes the app for enabled")
	require.NoError(t, l.FollowApp(t.Context(), "app", func(context.Context, string) error {
		require.Zero(t, l.Epochs(holder).App)
		return nil
	}))
	require.Positive(t, l.Epochs(holder).App)
}

func TestTheLedgerForgetsWhatNothingDependsOn(t *testing.T) {
	d, now := newDisk(t), storagetest.Epoch
	l := ended.New(d, func() time.Time { return now })
	require.NoError(t, l.EndToken(t.Context(), "t", now.Add(time.Hour)))
	require.NoError(t, l.EndFamily(t.Context(), "g"))
	for _, id := range []string{"gone", "there"} {
		_, err := d.RaiseEpoch(t.Context(), storage.EpochApp, id, now)
		require.NoError(t, err)
		require.NoError(t, l.FollowEpoch(t.Context(), "app "+id))
	}
	sweep := func(after time.Duration) (tokens int, gone, there int64) {
		now = storagetest.Epoch.Add(after)
		l.Sweep(func(clientID string) bool { return clientID == "there" })
		return l.Active(), l.Epochs(ended.Holder{ClientID: "gone"}).App, l.Epochs(ended.Holder{ClientID: "there"}).App
	}
	for _, step := range []struct {
		after  time.Duration
		tokens int
		gone   bool
	}{{time.Hour, 2, false}, {2 * time.Hour, 1, false}, {25 * time.Hour, 0, false}, {49 * time.Hour, 0, true}} {
		tokens, gone, there := sweep(step.after)
		require.Equal(t, step.tokens, tokens, step.after)
		require.Equal(t, step.gone, gone == 0, step.after)
		require.Positive(t, there, "an app that is there may have refresh tokens of any age")
	}
}

// TestADatabaseThatWentBackIsToldWhatHasEnded: one replica goes on with a database
// that lost what it had ended there, and another has read nothing else.
func TestADatabaseThatWentBackIsToldWhatHasEnded(t *testing.T) {
	d, now := newDisk(t), storagetest.Epoch
	clock := func() time.Time { now = now.Add(time.Second); return now }
	survivor := ended.New(d, clock)
	holder := ended.Holder{ClientID: "app", UserID: "u"}
	issued := []ended.Issued{{Holder: holder, ID: "t"}, {Holder: holder, ID: "2", GrantID: "g"}, {Holder: holder, ID: "3"}}
	require.NoError(t, survivor.EndToken(t.Context(), "t", now.Add(time.Hour)))
	require.NoError(t, survivor.EndFamily(t.Context(), "g"))
	require.NoError(t, survivor.EndUser(t.Context(), "u"))
	none := func(string) bool { return true }
	again, err := survivor.Restore(t.Context(), none)
	require.NoError(t, err)
	require.Zero(t, again, "the database knows all of it")
	before := survivor.Epochs(holder)

	d.Storage = newDisk(t).Storage
	again, err = survivor.Restore(t.Context(), none)
	require.NoError(t, err)
	require.Equal(t, 3, again)
	fresh := ended.New(d, clock)
	require.NoError(t, fresh.Load(t.Context()))
	for _, l := range []*ended.Ledger{survivor, fresh} {
		for _, i := range issued {
			require.ErrorIs(t, l.Check(i), ended.ErrEnded)
		}
		require.ErrorIs(t, l.Check(ended.Issued{Holder: holder, Epochs: before}), ended.ErrEnded, "issued at the epoch that was lost")
	}
	require.Equal(t, survivor.Epochs(holder), fresh.Epochs(holder))
}

// Whoever reads a token takes its id out of the text of all that it says, which may be
// a quarter of a MiB.
func TestOfATokenThatHasEndedItsIDAloneIsKept(t *testing.T) {
	alive := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	l := ended.New(newDisk(t), func() time.Time { return storagetest.Epoch })
	before := alive()
	const tokens, size = 64, 1 << 20
	for n := range tokens {
		text := fmt.Sprintf("%08d", n) + strings.Repeat("x", size)
		require.NoError(t, l.EndToken(t.Context(), text[:8], storagetest.Epoch.Add(time.Hour)))
	}
	require.Less(t, alive(), before+tokens*size/4)
	require.Equal(t, tokens, l.Active())
}
