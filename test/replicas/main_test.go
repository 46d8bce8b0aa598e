// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"testing"

	"connectedapps.dev/operator/internal/testenv/program"
)

// binary is the token server, built once.
var binary string

func TestMain(m *testing.M) { program.Main(m, &binary) }
