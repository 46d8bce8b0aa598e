// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// given are the addresses that this process has been given.
var given sync.Map

// FreeAddress is one of loopback at which nothing listens. No other call in this
// process gets the same: whoever asked for it may not listen yet, or no more.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for {
		var config net.ListenConfig
		listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := listener.Addr().String()
		require.NoError(t, listener.Close())
		if _, taken := given.LoadOrStore(address, true); !taken {
			return address
		}
	}
}
