// SPDX-License-Identifier: Apache-2.0

package logqueue_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
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
	return len(data), g.err
}

// Each writer's lines come whole and in their order, and none is missing.
func TestLinesComeWholeAndInOrder(t *testing.T) {
	const writers, lines = 8, 500
	out := &gate{open: make(chan struct{})}
	close(out.open)
	w := logqueue.New(out)
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
	w := logqueue.New(out)
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
	w := logqueue.New(out)
	line := append(bytes.Repeat([]byte("x"), 1<<16-1), '\n')
	const lines = 64 // 4 MiB
	written := make(chan int, lines)
	var group sync.WaitGroup
	group.Go(func() {
		for i := range lines {
			_, _ = w.Write(line)
			written <- i
		}
	})
	for i := range 16 {
		require.Equal(t, i, <-written)
	}
	require.Less(t, len(written), 20, "it takes 1 MiB, and what the output has in hand")
	require.Eventually(t, func() bool { return w.Stats().Waits == 1 }, 10*time.Second, time.Millisecond, "once for a line, however long")
	require.Greater(t, w.Stats().Waiting, 1<<20)
	close(out.open)
	group.Wait()
	w.Close()
	require.Equal(t, lines*len(line), out.Len())
	require.Zero(t, w.Stats().Waiting)
	require.Zero(t, w.Stats().Errors)
}

// Lines after the end are written directly: whoever still has something to say at
// the very end is heard.
func TestWhatComesAfterTheEndIsWritten(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	close(out.open)
	w := logqueue.New(out)
	w.Close()
	_, err := w.Write([]byte("last\n"))
	require.NoError(t, err)
	require.Equal(t, "last\n", out.String())
}

// An output that fails is not silent: the next line says so.
func TestAFailureIsToldToTheNextLine(t *testing.T) {
	out := &gate{open: make(chan struct{}), err: errors.New("no space")}
	close(out.open)
	w := logqueue.New(out)
	for err := error(nil); err == nil; {
		_, err = w.Write([]byte("line\n"))
	}
	w.Close()
	require.Positive(t, w.Stats().Errors)
}

// A line that comes while the last ones are being written waits for its turn, and
// holds nobody up.
func TestALineDuringTheEndIsWrittenLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gate{open: make(chan struct{})}
		w := logqueue.New(out)
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
