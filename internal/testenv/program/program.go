// SPDX-License-Identifier: Apache-2.0

package program

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
)

// patience is far more than any end takes.
const patience = time.Minute

// Build builds commands, such as "./cmd/tokenserver", into a folder, without the
// race detector. More flags of go build stand before them.
func Build(folder string, args ...string) error {
	args = append([]string{"build", "-ldflags=-s -w", "-o", folder + string(filepath.Separator)}, args...)
	build := exec.Command("go", args...) //nolint:noctx // it ends with this process
	build.Dir = testenv.ModuleRoot()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %v: %w\n%s", args, err, out)
	}
	return nil
}

// Process is a running program. It does not outlive this one.
type Process struct {
	t       testing.TB
	command *exec.Cmd
	output  output
	done    chan struct{}
}

// Main runs the tests of a package with the token server, which it builds once and
// whose path it writes, and ends the process.
func Main(m *testing.M, path *string) {
	folder, err := os.MkdirTemp("", "tokenserver-")
	if err != nil {
		panic(err)
	}
	*path = filepath.Join(folder, "tokenserver")
	code := 1
	if err := Build(folder, "./cmd/tokenserver"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// Start starts a program, which is killed at the end of the test. What it said is
// logged if the test failed.
func Start(t testing.TB, path string, args ...string) *Process {
	t.Helper()
	return StartCommand(t, exec.Command(path, args...)) //nolint:noctx // Cleanup ends it
}

// StartCommand is Start for a command with an environment or a folder of its own.
func StartCommand(t testing.TB, command *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, command: command, done: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, p.command.Start())
	go func() {
		_ = p.command.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(command.Path), p.output.String())
		}
	})
	return p
}

// PID is the id of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Output is what it wrote so far, to standard output and standard error.
func (p *Process) Output() string { return p.output.String() }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends it like kill -9 and waits for that.
func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	<-p.done
}

// Terminate asks it to end, as Kubernetes does, and does not wait.
func (p *Process) Terminate() {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Signal(syscall.SIGTERM))
}

// ExitCode waits for the end and returns the status; -1 after a signal.
func (p *Process) ExitCode() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.command.ProcessState.ExitCode()
	case <-time.After(patience):
		require.FailNow(p.t, "still running", p.output.String())
		return -1
	}
}

// Children are the processes that a process has started and that have not ended.
func Children(t testing.TB, pid int) (all []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		var child, parent int
		var state string
		_, err = fmt.Sscan(string(text), &child)
		require.NoError(t, err)
		_, err = fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &parent) // proc_pid_stat(5)
		require.NoError(t, err)
		if parent == pid {
			all = append(all, child)
		}
	}
	return all
}

// output is a buffer that is read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// most is how much is kept: the beginning.
const most = 4 << 20

// Write implements io.Writer.
func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() < most {
		o.text.Write(data)
	}
	return len(data), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
