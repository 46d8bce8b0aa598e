// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"os"
	"testing"

	"connectedapps.dev/operator/internal/testenv"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }
