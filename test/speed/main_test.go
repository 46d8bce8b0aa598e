// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv/program"
)

var (
	// binaries is the folder with tokenserver, refresher and ceiling.
	binaries string
	// pinned tells that this process keeps to its own core.
	pinned bool
)

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "speed-")
	if err != nil {
		panic(err)
	}
	binaries = folder
	code := 1
	if err := build(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binaries: %v\n", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// build builds as the images are built.
func build() error {
	return errors.Join(
		program.Build(binaries, "-trimpath", "./cmd/tokenserver", "./test/speed/ceiling"),
		program.Build(binaries, "-trimpath", "-tags=nethttpomithttp2", "./cmd/refresher"),
	)
}

// The cores of servers and client. On a machine with one core they share it.
const serverCore, clientCore = "0", "1"

// pin keeps this process, the client, to its own core.
func pin(t testing.TB) {
	t.Helper()
	if runtime.NumCPU() == 1 || pinned {
		return
	}
	moveTo(t, clientCore, os.Getpid())
	pinned = true
}

// moveTo keeps all threads of a process to a core; one that has ended is left alone.
func moveTo(t testing.TB, core string, pid int) {
	t.Helper()
	out, err := exec.Command("taskset", "-a", "-p", "-c", core, strconv.Itoa(pid)).CombinedOutput()
	if statistics(pid) != nil {
		require.NoError(t, err, "%s", out)
	}
}

// number is that of the environment; missing when it has none.
func number(t testing.TB, variable string, missing int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return missing
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	return n
}

func pairs(t testing.TB) int { return number(t, "SPEED_PAIRS", 9) }

// during is how long a server is asked at a time.
func during(t testing.TB) time.Duration {
	return time.Duration(number(t, "SPEED_SECONDS", 2)) * time.Second
}
