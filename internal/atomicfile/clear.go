// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Clear takes the set of files away. Unlike Write it needs no room, so that it
// works on a full disk. Readers lose all files at one moment. A directory that is
// not there, or empty, is cleared.
func (d Dir) Clear() error {
	root, err := os.OpenRoot(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	defer func() { _ = root.Close() }()

	w := &writer{Dir: d, root: root}
	for _, step := range []func() error{w.checkPresent, w.removeData, w.unlink, w.removeStale} {
		if err := step(); err != nil {
			return fmt.Errorf("clearing %s: %w", d.Path, err)
		}
	}
	return nil
}

// removeData ends the current set for readers and leaves it to removeStale.
func (w *writer) removeData() error {
	w.current = ""
	if err := w.root.Remove(dataLink); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isLeftover reports whether name is what an interrupted Write or Check left.
func isLeftover(name string) bool {
	return name == newDataLink || strings.HasPrefix(name, checkPrefix)
}
