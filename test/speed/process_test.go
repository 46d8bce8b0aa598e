// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/program"
)

// process is a server under measurement.
type process struct {
	address string
	command *exec.Cmd
	// database is the one it uses; nil: none beside the process.
	database *database
}

// tick is the unit in which the kernel counts the time of processes.
const tick = 10 * time.Millisecond

// processor is what the process, and its database, have used so far.
func (p *process) processor(t testing.TB) (own, database time.Duration) {
	t.Helper()
	own, alive := used(t, p.command.Process.Pid)
	require.True(t, alive)
	if p.database != nil {
		database = p.database.processor(t)
	}
	return own, database
}

// used is what a process has used so far, with its children that have ended; false when
// it has ended itself.
func used(t testing.TB, pid int) (total time.Duration, alive bool) {
	t.Helper()
	fields := statistics(pid)
	if fields == nil {
		return 0, false
	}
	for _, field := range fields[11:15] { // utime, stime, cutime and cstime, proc_pid_stat(5)
		n, err := strconv.Atoi(field)
		require.NoError(t, err)
		total += time.Duration(n) * tick
	}
	return total, true
}

// statistics are the fields behind the name of a process; none when it has ended.
func statistics(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// resident is how much memory the process holds, in MiB.
func (p *process) resident(t testing.TB) float64 { return memory(t, p.command.Process.Pid, "VmRSS:") }

// peak is the most it held, with the processes it has started and that have not ended.
func (p *process) peak(t testing.TB) float64 {
	t.Helper()
	most := memory(t, p.command.Process.Pid, "VmHWM:")
	for _, child := range program.Children(t, p.command.Process.Pid) {
		most += memory(t, child, "VmHWM:")
	}
	return most
}

func memory(t testing.TB, pid int, field string) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	var kib float64
	_, after, _ := bytes.Cut(status, []byte(field))
	_, err = fmt.Sscan(string(after), &kib)
	require.NoError(t, err)
	return kib / 1024
}

// stop ends it as Kubernetes does.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	_ = p.command.Wait()
}

// launch starts a binary on the servers' core. It does not outlive this one. What
// it logs goes through a pipe, as in a container.
func launch(t testing.TB, address, name string, args ...string) *process {
	t.Helper()
	command := append([]string{filepath.Join(binaries, name)}, args...)
	if runtime.NumCPU() > 1 || pinned {
		command = append([]string{"taskset", "-c", serverCore}, command...)
	}
	var said limited
	p := &process{address: address, command: exec.Command(command[0], command[1:]...)}
	p.command.Stderr = &said
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// A writer that is no file makes a pipe.
	p.command.Stdout = struct{ io.Writer }{io.Discard}
	require.NoError(t, p.command.Start())
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		_ = p.command.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.String())
		}
	})
	return p
}

// listening waits until the process takes connections.
func (p *process) listening(t testing.TB) {
	t.Helper()
	testenv.Eventually(t, func(r *require.Assertions) {
		connection, err := net.Dial("tcp", p.address)
		r.NoError(err)
		_ = connection.Close()
	})
}

// limited keeps the end of what is written. Nothing of the buffer is promoted: its
// ReadFrom would keep all.
type limited struct{ end bytes.Buffer }

func (l *limited) Write(data []byte) (int, error) {
	const most = 4 << 10
	l.end.Write(data)
	l.end.Next(max(0, l.end.Len()-most))
	return len(data), nil
}

func (l *limited) String() string { return l.end.String() }
