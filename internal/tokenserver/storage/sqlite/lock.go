// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// InUseError says which process has the database open. It is
// storage.ErrInUse.
type InUseError struct {
	// Holder is what the lock file says of that process, such as "pid 7 on host
	// tokenserver-0"; empty when it says nothing.
	Holder string
}

// Error implements error.
func (e *InUseError) Error() string {
	if e.Holder == "" {
		return storage.ErrInUse.Error()
	}
	return storage.ErrInUse.Error() + " (" + e.Holder + ")"
}

// Unwrap implements errors.Unwrap.
func (e *InUseError) Unwrap() error { return storage.ErrInUse }

// lock takes the lock file for this process; the lock is kept by the kernel and
// goes with the process, however it ends. What the file holds is for people.
func lock(path string) (unlock func() error, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		nameHolder(file)
		return file.Close, nil
	}
	defer func() { _ = file.Close() }()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, &InUseError{Holder: holder(file)}
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}

// nameHolder writes who has the lock. A full disk must not keep a server from
// starting, so a note that cannot be written is left out.
func nameHolder(file *os.File) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if file.Truncate(0) == nil {
		_, _ = fmt.Fprintf(file, "pid %d on host %s\n", os.Getpid(), host)
	}
}

const maxHolder = 200

// holder reads what nameHolder wrote; text of any other origin is kept from
// filling or forging a log.
func holder(file io.Reader) string {
	text, err := io.ReadAll(io.LimitReader(file, maxHolder))
	if err != nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, string(text))
}
