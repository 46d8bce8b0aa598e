// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"connectedapps.dev/operator/internal/testenv"
)

var (
	plane *testenv.ControlPlane
	// binaries is the folder with manager and tokenserver.
	binaries string
)

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "campaign-")
	if err != nil {
		panic(err)
	}
	binaries = folder
	code := 1
	if err := build(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binaries: %v\n", err)
	} else {
		code = testenv.Run(m, &plane)
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// build makes the binaries as they are shipped: what is killed is what users
// run, without race detector.
func build() error {
	command := exec.Command("go", "build", "-ldflags=-s -w", "-o", binaries+string(filepath.Separator), "./cmd/manager", "./cmd/tokenserver")
	command.Dir = testenv.ModuleRoot()
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}
