// SPDX-License-Identifier: Apache-2.0

// Package monitoring holds dashboards and alerts to the metrics of programs that
// run, with a real Prometheus.
package monitoring

import (
	"fmt"
	"os"
	"testing"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/program"
)

var (
	plane *testenv.ControlPlane
	// binaries is the folder with our programs.
	binaries string
)

func TestMain(m *testing.M) {
	var err error
	if binaries, err = os.MkdirTemp("", "monitoring-"); err != nil {
		panic(err)
	}
	code := 1
	if err := program.Build(binaries, "./cmd/manager", "./cmd/tokenserver", "./cmd/refresher"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = testenv.Run(m, &plane)
	}
	_ = os.RemoveAll(binaries)
	os.Exit(code)
}
