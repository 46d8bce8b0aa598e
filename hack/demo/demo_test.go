// SPDX-License-Identifier: Apache-2.0

package demo_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// demo is what hack/demo.sh does with programs, and one program.
const demo = `
set -euo pipefail
root=../.. work=$1
. lib.sh
ln -s "$work" "$2"
watch "$2"
start program tail -f "$work/processes"
echo "${pids[program]}"
while sleep 1; do check_processes; done
`

// TestNothingIsLeftOfADemoThatIsKilled kills the demo before it can tidy up.
func TestNothingIsLeftOfADemoThatIsKilled(t *testing.T) {
	for name, group := range map[string]int{"alone": 1, "with all of its terminal": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temporary := t.TempDir()
			work, link := filepath.Join(temporary, "work"), filepath.Join(temporary, "link")
			require.NoError(t, os.Mkdir(work, 0o700))
			shell := exec.CommandContext(t.Context(), "bash", "-c", demo, "bash", work, link)
			shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			shell.Stderr = os.Stderr
			out, err := shell.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, shell.Start())
			pid, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			arguments := filepath.Join("/proc", strings.TrimSpace(pid), "cmdline")
			require.Eventually(t, func() bool { return strings.Contains(read(arguments), work) }, time.Minute, 10*time.Millisecond, "the program runs")

			require.NoError(t, syscall.Kill(group*shell.Process.Pid, syscall.SIGKILL))
			_ = shell.Wait()
			require.Eventually(t, func() bool { return !strings.Contains(read(arguments), work) }, time.Minute, 10*time.Millisecond, "the program ends")
			require.Eventually(t, func() bool {
				left, err := os.ReadDir(temporary)
				return err == nil && len(left) == 0
			}, time.Minute, 10*time.Millisecond, "folder and link are removed")
		})
	}
}

// read is the content of a file; empty when there is none.
func read(path string) string {
	content, _ := os.ReadFile(path)
	return string(content)
}
