// SPDX-License-Identifier: Apache-2.0

package management

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestACountIsNotTrustedForLong(t *testing.T) {
	var r room
	now := time.Unix(1_000_000, 0)
	require.False(t, r.take("org", now))
	r.set("org", 1, now)
	require.True(t, r.take("org", now.Add(countedFor-1)))
	require.False(t, r.take("other", now))
	require.False(t, r.take("org", now.Add(countedFor)))
	require.False(t, r.take("org", now.Add(-countedFor)), "a clock was set back")
}
