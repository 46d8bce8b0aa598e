// SPDX-License-Identifier: Apache-2.0

package logqueue_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/logqueue"
)

// gate is an output that writes only when it may.
type gate struct {
	bytes.Buffer
	open   chan struct{}
	writes int
	err    error
}

func (g *gate) Write(data []byte) (int, error) {
	<-g.open
	g.writes++
	_, _ = g.Buffer.Write(data)
	if g.err != nil {
		return 0, g.err
	}
	return len(data), nil
}

func lost(lines int) []byte { return fmt.Appendf(nil, "%d lost\n", lines) }

// Each writer's lines come whole and in their order, and none is missing.
func TestLinesComeWholeAndInOrder(t *testing.T) {
	const writers, lines = 8, 500
	out := &gate{open: make(chan struct{})}
	close(out.open)
	w := logqueue.New(out, lost)
	var group sync.WaitGroup
	for writer := range writers {
		group.Go(func() {
			for line := range lines {
				n, err := fmt.Fprintf(w, "%d %d\n", writer, line)
				require.NoError(t, err)
				require.Positive(t, n)
			}
		})
	}
	group.Wait()
	w.Close()
	next := map[int]int{}
	for text := range strings.Lines(out.String()) {
		var writer, line int
		_, err := fmt.Sscanf(text, "%d %d\n", &writer, &line)
		require.NoError(t, err, text)
		require.Equal(t, next[writer], line)
		next[writer]++
	}
	for writer := range writers {
		require.Equal(t, lines, next[writer])
	}
}

// What comes while the output is busy goes out in one write.
func TestLinesThatWaitGoOutTogether(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	w := logqueue.New(out, lost)
	for range 100 {
		_, err := w.Write([]byte("line\n"))
		require.NoError(t, err)
	}
	close(out.open)
	w.Close()
	require.Equal(t, strings.Repeat("line\n", 100), out.String())
	require.LessOrEqual(t, out.writes, 2)
}

// An output that hangs makes its writers wait instead of filling the memory, and
// loses nothing.
func TestAnOutputThatHangsHoldsItsWritersUp(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	w := logqueue.New(out, lost)
	line := append(bytes.Repeat([]byte("x"), 1<<16-1), '\n')
	const lines = 64 // 4 MiB
	written := make(chan int, lines)
	_, err := w.Write(line)
	require.NoError(t, err)
	written <- 0
	require.Eventually(t, func() bool { return w.Stats().Waiting == 0 }, time.Minute, time.Millisecond, "the output has it in hand")
	var group sync.WaitGroup
	group.Go(func() {
		for i := 1; i < lines; i++ {
			_, _ = w.Write(line)
			written <- i
		}
	})
	for i := range 16 {
		require.Equal(t, i, <-written)
	}
	require.Less(t, len(written), 20, "it takes 1 MiB, and what the output has in hand")
	require.Eventually(t, func() bool { return w.Stats().Waits == 1 }, time.Minute, time.Millisecond, "once for a line, however long")
	require.Greater(t, w.Stats().Waiting, 1<<20)
	close(out.open)
	group.Wait()
	w.Close()
	require.Equal(t, lines*len(line), out.Len())
	require.Zero(t, w.Stats().Waiting)
	require.Zero(t, w.Stats().Lost)
}

// Lines after the end are written directly: whoever still has something to say at
// the very end is heard.
func TestWhatComesAfterTheEndIsWritten(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	close(out.open)
	w := logqueue.New(out, lost)
	w.Close()
	_, err := w.Write([]byte("last\n"))
	require.NoError(t, err)
	require.Equal(t, "last\n", out.String())
}

// An output that fails is not silent: the next line says so.
func TestAFailureIsToldToTheNextLine(t *testing.T) {
	out := &gate{open: make(chan struct{}), err: errors.New("no space")}
	close(out.open)
	w := logqueue.New(out, lost)
	for err := error(nil); err == nil; {
		_, err = w.Write([]byte("line\n"))
	}
	w.Close()
	require.Positive(t, w.Stats().Lost)
}

// A line that comes while the last ones are being written waits for its turn, and
// holds nobody up.
func TestALineDuringTheEndIsWrittenLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gate{open: make(chan struct{})}
		w := logqueue.New(out, lost)
		_, err := w.Write([]byte("first\n"))
		require.NoError(t, err)
		synctest.Wait()
		ended, written := make(chan struct{}), make(chan struct{})
		go func() { w.Close(); close(ended) }()
		synctest.Wait()
		go func() { _, _ = w.Write([]byte("late\n")); close(written) }()
		synctest.Wait()
		close(out.open)
		<-ended
		<-written
		require.Equal(t, "first\nlate\n", out.String())
	})
}

// A pipe that nobody reads any more: requests go on, the memory does not grow, and
// what was lost is told when somebody reads again.
func TestAnOutputThatTakesNothingIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gate{open: make(chan struct{})}
		w := logqueue.New(out, lost)
		line := append(bytes.Repeat([]byte("x"), 1<<10-1), '\n')
		const lines = 5000 // 5 MiB
		began := time.Now()
		for range lines {
			_, err := w.Write(line)
			require.NoError(t, err)
		}
		require.Less(t, time.Since(began), 10*time.Second, "all together wait once")
		close(out.open)
		synctest.Wait()
		_, err := w.Write([]byte("later\n"))
		require.NoError(t, err)
		w.Close()
		kept := bytes.Count(out.Bytes(), line)
		require.Less(t, kept, 2100, "of 1 MiB in the queue, and 1 MiB in hand")
		require.Equal(t, strings.Repeat(string(line), kept)+fmt.Sprintf("%d lost\nlater\n", lines-kept), out.String())
	})
}

// The end of the process does not wait for it either.
func TestTheEndDoesNotWaitForAnOutputThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gate{open: make(chan struct{})}
		w := logqueue.New(out, lost)
		_, err := w.Write([]byte("first\n"))
		require.NoError(t, err)
		began := time.Now()
		w.Close()
		_, err = w.Write([]byte("late\n"))
		require.NoError(t, err)
		require.Equal(t, 5*time.Second, time.Since(began))
		close(out.open)
	})
}

// A full disk: what could not be written is told once there is room.
func TestLinesThatCannotBeWrittenAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &full{}
		w := logqueue.New(out, lost)
		for range 3 {
			_, _ = w.Write([]byte("line\n"))
			synctest.Wait()
		}
		require.Equal(t, 3, out.writes, "it does not try for ever")
		_, err := w.Write([]byte("line\n"))
		require.Error(t, err)
		synctest.Wait()
		out.room = true
		_, _ = w.Write([]byte("again\n"))
		synctest.Wait()
		w.Close()
		require.Equal(t, "again\n4 lost\n", out.String())
	})
}

// full is a disk without room.
type full struct {
	bytes.Buffer
	writes int
	room   bool
}

func (f *full) Write(data []byte) (int, error) {
	if f.writes++; !f.room {
		return 0, syscall.ENOSPC
	}
	return f.Buffer.Write(data)
}

func TestALongLineIsCut(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	close(out.open)
	w := logqueue.New(out, lost)
	_, err := w.Write([]byte(strings.Repeat("x", 10<<20) + "\n"))
	require.NoError(t, err)
	w.Close()
	require.Equal(t, 64<<10, out.Len())
	require.True(t, strings.HasSuffix(out.String(), "xxx… (cut)\n"))
}
