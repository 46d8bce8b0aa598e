// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
)

// Whoever collects the log may hang: tokens are issued all the same, and later the
// log says how much is missing.
func TestALogThatNobodyReads(t *testing.T) {
	s := start(t, false, "")
	h := begin(t, s)
	func() {
		s.log.reading.Lock()
		defer s.log.reading.Unlock()
		// What a pipe and the queue hold are the lines of less than 5,000.
		before := h.tokens.Load()
		testenv.EventuallyWithin(t, 2*time.Minute, func(r *require.Assertions) { r.Greater(h.tokens.Load()-before, int64(10_000)) })
		require.Less(t, s.peak(t), memoryMiB)
	}()
	testenv.Eventually(t, func(r *require.Assertions) { r.True(s.log.toldOfLost()) })
	require.Empty(t, h.refused)
}
