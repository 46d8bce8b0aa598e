// SPDX-License-Identifier: Apache-2.0

package postgresql

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// program finds a program of Debian's packages: only some are in the PATH.
func program(name string) (string, error) {
	patterns := []string{"/usr/lib/postgresql/*/bin/" + name, "/usr/sbin/" + name}
	for _, pattern := range patterns {
		// The last is the latest version.
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return slices.MaxFunc(found, byVersion), nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	return "", fmt.Errorf("no %s: run `make postgresql`, which installs the packages postgresql and pgbouncer", name)
}

// Programs is the folder of the server's own programs: pg_dump, pg_restore, psql.
func Programs() (string, error) {
	path, err := program("pg_dump")
	return filepath.Dir(path), err
}

func byVersion(a, b string) int {
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return version(a) - version(b)
}

// credential is that of an unprivileged user when this process is root's:
// neither program runs as root. Nil: this process's own.
func credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("postgres does not run as root, and there is neither a user postgres nor nobody")
}

// newFolder makes a folder that belongs to the user of the programs.
func newFolder(as *syscall.Credential) (string, error) {
	folder, err := os.MkdirTemp("", "connectedapps-postgresql-")
	if err != nil || as == nil {
		return folder, err
	}
	return folder, os.Chown(folder, int(as.Uid), int(as.Gid))
}
