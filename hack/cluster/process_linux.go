// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// childAttributes keep a terminal's interrupt away from the child, so that it
// ends in order, and let the kernel kill it should this program be killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
