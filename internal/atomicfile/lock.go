// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrLocked is the error of Lock while another process holds the directory.
var ErrLocked = errors.New("another process writes to it")

// Lock keeps other processes that Lock the directory out, containers that share
// the volume included, until unlock is called or the process ends in whatever
// way. The directory must exist. On a file system without locks it does nothing.
func (d Dir) Lock() (unlock func(), err error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, fmt.Errorf("opening the directory: %w", err)
	}
	if errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s: %w", d.Path, ErrLocked)
	}
	return func() { _ = f.Close() }, nil
}
