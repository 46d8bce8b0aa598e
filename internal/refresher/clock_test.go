// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
)

// setClock is a clock whose wall clock is set by whole seconds.
type setClock struct {
	// at is when since was true: it has a monotonic reading, which the clock of a
	// synctest bubble, where since may be from, has not.
	at, since time.Time
	seconds   atomic.Int64
}

func (c *setClock) set(by time.Duration) { c.seconds.Add(int64(by / time.Second)) }

// now has a monotonic reading that no step touches, as time.Now has after somebody
// set the clock. No function of package time makes such a time.
func (c *setClock) now() time.Time {
	t := c.at.Add(time.Since(c.since))
	parts := (*struct {
		wall uint64 // a flag, 33 bits of seconds, 30 of nanoseconds
		ext  int64  // the monotonic reading
		loc  *time.Location
	})(unsafe.Pointer(&t))
	parts.wall += uint64(c.seconds.Load()) << 30
	return t
}

func TestTheClockThatIsSet(t *testing.T) {
	before := time.Now()
	c := &setClock{at: before, since: before}
	for _, by := range []time.Duration{-time.Hour, 3 * time.Hour} {
		c.set(by)
		after := c.now()
		require.Less(t, after.Sub(before), time.Minute)
		require.InDelta(t, time.Duration(c.seconds.Load())*time.Second, after.Round(0).Sub(before.Round(0)), float64(time.Minute))
	}
}

// TestNeverABadTokenWhateverTheClock sets the clock while a reader opens the files
// again and again. It never sees a token that is dead on its server, half a set, or a
// gap, and one that ended by a clock set forward only until the engine looks.
func TestNeverABadTokenWhateverTheClock(t *testing.T) {
	const life, look = 20 * time.Minute, 100 * time.Millisecond
	monotonic := time.Now()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // of died and asked
		c, died, asked := &setClock{at: monotonic, since: time.Now()}, map[string]time.Time{}, 0
		e, dir := newEngine(t, sourceFunc(func(context.Context) (*Token, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			now := c.now()
			token := &Token{AccessToken: "token-" + string(rune('a'+asked)), IssuedAt: now, ExpiresAt: now.Add(life)}
			died[token.AccessToken] = time.Now().Add(life)
			return token, nil
		}))
		e.clock = c.now
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Run(ctx); close(done) }()
		synctest.Wait()

		var set time.Time
		read := func() {
			t.Helper()
			files, err := atomicfile.Read(dir)
			require.NotErrorIs(t, err, fs.ErrNotExist, "a gap")
			require.NoError(t, err)
			token, err := ParseFiles(files)
			require.NoError(t, err)
			require.Equal(t, token.AccessToken, string(files[KeyAccessToken]))
			mu.Lock()
			dies := died[token.AccessToken]
			mu.Unlock()
			require.True(t, time.Now().Before(dies), "%s is dead on its server", token.AccessToken)
			if time.Since(set) > clockInterval+look {
				require.True(t, c.now().Round(0).Before(token.ExpiresAt), "%s expired at %s, and it is %s", token.AccessToken, token.ExpiresAt, c.now())
			}
		}
		for _, by := range []time.Duration{
			0, time.Hour, -time.Hour, 10 * time.Minute, -30 * time.Second, 30 * time.Second, -24 * time.Hour, 25 * time.Hour, -19 * time.Minute,
		} {
			c.set(by)
			set = time.Now()
			for range 7 * time.Minute / look {
				read()
				time.Sleep(look)
				synctest.Wait()
			}
		}
		stop()
		<-done
		require.Less(t, asked, 12, "a clock that is set asks for no flood of tokens")
	})
}
