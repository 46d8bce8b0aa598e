// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
)

// A full disk keeps no token beyond its end, and the one that is there stays
// until then.
func TestAnExpiredTokenIsWithdrawnFromAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	synctest.Test(t, func(t *testing.T) {
		s := newServer(time.Hour, false)
		e := &Engine{Source: s, Output: FileOutput{Dir: atomicfile.Dir{Path: dir}}, Logger: slog.New(slog.DiscardHandler)}
		go e.Run(t.Context())
		synctest.Wait()
		expires := e.Status().ExpiresAt

		filler, err := os.Create(filepath.Join(dir, "filler"))
		require.NoError(t, err)
		for block := make([]byte, 512); err == nil; {
			_, err = filler.Write(block)
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NoError(t, filler.Close())
		time.Sleep(time.Until(expires) - 2*time.Second)
		synctest.Wait()
		require.Equal(t, "token-1", published(t, dir))
		require.Equal(t, ReasonOutputFailed, ReasonOf(e.Status().LastError))
		require.Len(t, s.calls(), 2, "the token that did not fit is tried again, and not another one")

		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.NoFileExists(t, filepath.Join(dir, KeyAccessToken))
		requireProbes(t, e, 200, 503, 200)
		require.Equal(t, ReasonOutputFailed, reported(t, dir).Reason, "the room that it took serves to tell why")
		require.False(t, reported(t, dir).Valid)

		require.NoError(t, os.Remove(filler.Name()))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		requireProbes(t, e, 200, 200, 200)
	})
}
