// SPDX-License-Identifier: Apache-2.0

// Package atomicfile replaces a set of files in a directory so that readers
// never see half of it. The layout is the one the kubelet uses for Secrets and
// ConfigMaps, so readers that know those need to learn nothing new:
//
//	access-token                 → ..data/access-token
//	expires-at                   → ..data/expires-at
//	..data                       → ..2026_11_23_20_49_00.atomicfile-3141592653
//	..2026_11_23_20_49_00.atomicfile-3141592653/   the current set
//	..2026_11_23_20_39_00.atomicfile-2718281828/   the one before
//
// A directory whose ..data another program made, such as the kubelet, is refused
// and left as it is.
//
// Dir.Write goes through these steps, each of which leaves the directory such
// that readers see one whole set and a later Write succeeds, so that a crash
// between any two needs no repair:
//
//  1. Check the names and make the directory.
//  2. Remove what is neither ..data nor the set it points to: the set before
//     it, and whatever an interrupted Write left.
//  3. Write the new set into a new timestamped directory: content, group, mode,
//     fsync of every file, then of the directory.
//  4. Make the symlink ..data_tmp to the timestamped directory.
//  5. Rename ..data_tmp to ..data, which replaces it in one step, and fsync.
//     From here on readers see the new set.
//  6. Make the visible symlinks that are missing.
//  7. Remove the visible symlinks of names that are no longer in the set, and
//     fsync.
//
// Unlike the kubelet, Write keeps the replaced set until the next Write: opening
// access-token follows ..data first and then looks into the directory it named,
// and a removal between the two would look like a missing file.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
	checkPrefix = "..check_"
)

// DefaultMode is the mode of files when Dir.Mode is zero: readable by owner and
// group.
const DefaultMode fs.FileMode = 0o440

// Dir is a directory whose files are replaced as one set. Only one process may
// write to it, one Write at a time.
type Dir struct {
	// Path of the directory, made with mode 0755 when missing.
	Path string
	// Mode of every file; zero means DefaultMode. The umask does not apply.
	Mode fs.FileMode
	// Group is the id of the group every file is given; zero leaves the
	// group to the system: the process's own, or the directory's when that
	// has the setgid bit, as volumes with an fsGroup do.
	Group int

	// afterStep is called after each step; its error ends Write there.
	afterStep func(step int) error
}

// Write replaces the set of files by the given one, names mapped to content. A
// name that is empty, holds a slash or starts with ".." is refused before
// anything is touched, as is a directory where one of the names belongs to a
// file that Write did not make.
func (d Dir) Write(files map[string][]byte) error {
	if err := checkNames(files); err != nil {
		return err
	}
	if err := os.MkdirAll(d.Path, 0o755); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	defer func() { _ = root.Close() }()

	w := &writer{Dir: d, root: root, files: files, names: slices.Sorted(maps.Keys(files))}
	for i, step := range steps {
		if err := step.do(w); err != nil {
			return fmt.Errorf("writing to %s: %s: %w", d.Path, step.name, err)
		}
		if d.afterStep != nil {
			if err := d.afterStep(i); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkNames(files map[string][]byte) error {
	if len(files) == 0 {
		return errors.New("the set of files is empty")
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name == "" || name == "." || strings.HasPrefix(name, "..") || strings.ContainsAny(name, "/\x00") || len(name) > 255 {
			return fmt.Errorf("file name %.60q is not allowed", name)
		}
	}
	return nil
}

// Check makes the directory and reports whether Write could work there with the
// configured group, without touching the set of files.
func (d Dir) Check() error {
	if err := os.MkdirAll(d.Path, 0o755); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	defer func() { _ = root.Close() }()
	if _, err := currentSet(root); err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	return d.tryFile()
}

func (d Dir) tryFile() error {
	f, err := os.CreateTemp(d.Path, checkPrefix+"*")
	if err != nil {
		return fmt.Errorf("writing to the directory: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }()
	if d.Group != 0 {
		if err := f.Chown(-1, d.Group); err != nil {
			return fmt.Errorf("giving files to group %d, which the process must be a member of: %w", d.Group, err)
		}
	}
	return nil
}
