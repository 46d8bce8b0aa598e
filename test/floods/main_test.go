// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"connectedapps.dev/operator/internal/testenv/program"
)

// binary is the token server, built once.
var binary string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "floods-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(folder, "tokenserver")
	code := 1
	if err := program.Build(folder, "./cmd/tokenserver"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}
