// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestABindMountIsTheSameDirectory(t *testing.T) {
	creds, mounted := t.TempDir(), t.TempDir()
	if err := syscall.Mount(creds, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("mounting: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mounted, syscall.MNT_DETACH) })
	_, err := Parse([]string{"--credentials-dir", creds, "--output-dir", mounted}, noEnv, nil)
	require.ErrorContains(t, err, "is the same directory as")
}
