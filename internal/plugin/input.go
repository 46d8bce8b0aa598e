// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Most bytes that are read of one file.
const (
	// MaxInput is for clients and manifests: more than any cluster has.
	MaxInput = 128 << 20
	// MaxValue is for one value, such as a token, or certificates.
	MaxValue = 1 << 20
)

// ReadInput reads a file, or standard input for -, of at most limit bytes. What
// would keep it waiting, or never ends, is refused.
func ReadInput(path string, limit int64, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return readAll("standard input", limit, stdin)
	}
	if err := checkInput(path, limit); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return readAll(path, limit, file)
}

// checkInput says why a file is not read.
func checkInput(path string, limit int64) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() && !isOpen(path):
		return fmt.Errorf("%s is a %s and no regular file; what another program writes is read from standard input, as -", path, kindOf(info.Mode()))
	case info.Size() > limit:
		return tooLarge(path, limit)
	}
	return nil
}

// isOpen tells what a shell has opened for us, such as the pipe of <(command).
func isOpen(path string) bool {
	return path == "/dev/stdin" || slices.ContainsFunc([]string{"/dev/fd/", "/proc/self/fd/"}, func(folder string) bool { return strings.HasPrefix(path, folder) })
}

func readAll(name string, limit int64, r io.Reader) ([]byte, error) {
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = tooLarge(name, limit)
	}
	if err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

func tooLarge(name string, limit int64) error {
	return fmt.Errorf("%s has more than %d MiB: it is something else, or has more in it than is read here", name, limit>>20)
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
