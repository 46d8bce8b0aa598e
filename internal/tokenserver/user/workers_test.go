// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// working, as the only argument, makes this program a worker.
const working = "work"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == working {
		if err := Work(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func newWorkers(t *testing.T) (w *Workers, said *bytes.Buffer) {
	t.Helper()
	said = &bytes.Buffer{}
	w = &Workers{Logger: slog.New(slog.NewTextHandler(said, nil)), Command: func() *exec.Cmd { return exec.Command(os.Args[0], working) }}
	t.Cleanup(func() {
		for len(w.idle) > 0 {
			w.retire(w.idle[0])
		}
	})
	return w, said
}

func derivations(n int) (all []*Derivation) {
	for i := range n {
		all = append(all, noPassword(cost{8 << i, 1, 1}).derivation(fmt.Sprint("password ", i), keyLength))
	}
	return all
}

// A worker that never answers is ended, and keeps nobody's turn.
func TestAWorkerThatDoesNotAnswerIsEnded(t *testing.T) {
	t.Parallel()
	w, said := newWorkers(t)
	var silent *exec.Cmd
	w.Patience, w.Command = 10*time.Millisecond, func() *exec.Cmd {
		silent = exec.Command("sleep", "1000")
		return silent
	}
	d := derivations(1)[0]
	require.Equal(t, d.Key(), w.Derive(d))
	require.Contains(t, said.String(), "a password is checked in this process")
	require.NotNil(t, silent.ProcessState, "it has ended")
	require.Empty(t, w.idle)
}

func TestAWorkerDerivesWhatThisProcessWould(t *testing.T) {
	t.Parallel()
	w, said := newWorkers(t)
	for _, d := range derivations(3) {
		require.Equal(t, d.Key(), w.Derive(d))
	}
	require.Len(t, w.idle, 1, "one does all that is asked in turn")
	var group sync.WaitGroup
	keys := make([][]byte, 4)
	for i, d := range derivations(len(keys)) {
		group.Go(func() { keys[i] = w.Derive(d) })
	}
	group.Wait()
	for i, d := range derivations(len(keys)) {
		require.Equal(t, d.Key(), keys[i])
	}
	require.LessOrEqual(t, len(w.idle), len(keys))
	require.Empty(t, said.String())
}

// All threads of it, since Linux counts each for itself.
func TestAWorkerYieldsToTheServer(t *testing.T) {
	t.Parallel()
	w, _ := newWorkers(t)
	w.Derive(derivations(1)[0])
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", w.idle[0].command.Process.Pid))
	require.NoError(t, err)
	if len(threads) == 0 {
		t.Skip("only /proc tells the threads of a process")
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(filepath.Base(thread))
		require.NoError(t, err)
		const zero = 20 // what the call itself returns for a niceness of 0
		priority, err := syscall.Getpriority(syscall.PRIO_PROCESS, id)
		require.NoError(t, err)
		require.Equal(t, zero-yields, priority)
	}
}

func TestAWorkerIsNotEndedByWhatEndsTheServer(t *testing.T) {
	t.Parallel()
	w, said := newWorkers(t)
	d := derivations(1)[0]
	w.Derive(d)
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		require.NoError(t, w.idle[0].command.Process.Signal(signal))
	}
	require.Equal(t, d.Key(), w.Derive(d))
	require.Empty(t, said.String())
}

func TestAPasswordIsCheckedWhateverBecomesOfTheWorkers(t *testing.T) {
	t.Parallel()
	d := derivations(1)[0]
	t.Run("one was killed", func(t *testing.T) {
		w, said := newWorkers(t)
		w.Derive(d)
		require.NoError(t, w.idle[0].command.Process.Kill())
		require.Equal(t, d.Key(), w.Derive(d))
		require.Contains(t, said.String(), "asking the process for password checks")
		require.Empty(t, w.idle)
		said.Reset()
		require.Equal(t, d.Key(), w.Derive(d))
		require.Empty(t, said.String(), "another has taken its place")
	})
	t.Run("none can be started", func(t *testing.T) {
		w, said := newWorkers(t)
		w.Command = func() *exec.Cmd { return exec.Command(filepath.Join(t.TempDir(), "gone")) }
		require.Equal(t, d.Key(), w.Derive(d))
		require.Contains(t, said.String(), "starting a process for password checks")
	})
	t.Run("one was idle for long", func(t *testing.T) {
		w, said := newWorkers(t)
		w.Derive(d)
		old := w.idle[0]
		w.retire(old)
		require.NotNil(t, old.command.ProcessState, "it has ended")
		w.retire(old)
		require.Equal(t, d.Key(), w.Derive(d))
		require.Empty(t, said.String())
	})
}
