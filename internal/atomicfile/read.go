// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

const (
	// maxFile is the largest file Read takes: the limit of a whole Secret.
	maxFile = 1 << 20
	// readAttempts bounds how often Read starts anew when the set is
	// replaced under it.
	readAttempts = 10
)

// Read returns the files of a directory as one set. A directory in the
// kubelet's layout is read at one moment, however often it is replaced
// meanwhile; of any other, all files are read as they are. What is no file, such
// as a directory or a pipe, is left out. A missing directory is fs.ErrNotExist.
func Read(directory string) (map[string][]byte, error) {
	var err error
	for range readAttempts {
		var files map[string][]byte
		if files, err = readOnce(directory); !errors.Is(err, errReplaced) {
			return files, err
		}
	}
	return nil, fmt.Errorf("reading %s: %w", directory, err)
}

var errReplaced = errors.New("the files were replaced while being read")

func readOnce(directory string) (map[string][]byte, error) {
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()

	set, err := root.Readlink(dataLink)
	if errors.Is(err, fs.ErrNotExist) {
		return readSet(root, ".")
	}
	if err != nil {
		return nil, err
	}
	files, err := readSet(root, set)
	// A set is removed only after ..data has left it: while ..data stays,
	// all that was read belongs together.
	if now, linkErr := root.Readlink(dataLink); linkErr != nil || now != set {
		return nil, errReplaced
	}
	return files, err
}

func readSet(root *os.Root, dir string) (map[string][]byte, error) {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte, len(entries))
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		name := path.Join(dir, entry.Name())
		info, err := root.Stat(name) // of what a link leads to
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			continue // to open a pipe waits for who writes to it
		}
		if files[entry.Name()], err = readFile(root, name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readFile(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("file %s is larger than 1 MiB", name)
	}
	return content, nil
}
