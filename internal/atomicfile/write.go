// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"time"
)

// steps 1 to 7 of the package comment; the part of step 1 that makes the
// directory has happened.
var steps = []struct {
	name string
	do   func(*writer) error
}{
	{"checking the present files", (*writer).checkPresent},
	{"removing stale files", (*writer).removeStale},
	{"writing the new files", (*writer).writeSet},
	{"preparing the swap", (*writer).prepareSwap},
	{"swapping", (*writer).swap},
	{"linking the files", (*writer).link},
	{"removing old links", (*writer).unlink},
}

// writer is one Write on its way.
type writer struct {
	Dir
	root  *os.Root
	files map[string][]byte
	names []string
	// current is the timestamped directory ..data points to, empty at first.
	current string
	// set is the timestamped directory of the new files.
	set string
}

func (w *writer) checkPresent() (err error) {
	if w.current, err = currentSet(w.root); err != nil {
		return err
	}
	for _, name := range w.names {
		if err := w.ours(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// currentSet is the set that readers see; empty when there is none. One that
// another program made is an error: that program goes on using the directory.
func currentSet(root *os.Root) (string, error) {
	switch target, err := root.Readlink(dataLink); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%s is in the way: %w", dataLink, err)
	case !isOurs(target):
		return "", fmt.Errorf("%s leads to %s, which another program wrote: this one needs a directory of its own", dataLink, target)
	default:
		return target, nil
	}
}

// ours returns nil for a visible link that Write made, fs.ErrNotExist when
// there is nothing, and another error when something else has the name.
func (w *writer) ours(name string) error {
	info, err := w.root.Lstat(name)
	if err != nil {
		return err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		if target, err := w.root.Readlink(name); err == nil && target == path.Join(dataLink, name) {
			return nil
		}
	}
	return fmt.Errorf("%s exists and was not written by this program", name)
}

func (w *writer) removeStale() error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		old := isOurs(name) && name != w.current
		if old || isLeftover(name) {
			if err := w.root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// setLayout is how the directories of sets are called, but for the random
// number at the end. The word tells ours from the kubelet's, of which the same
// directory can be full when it was given by mistake.
const setLayout = "..2006_01_02_15_04_05.atomicfile-"

func isOurs(name string) bool {
	if len(name) < len(setLayout) {
		return false
	}
	_, err := time.Parse(setLayout, name[:len(setLayout)])
	return err == nil
}

func (w *writer) writeSet() error {
	w.set = fmt.Sprintf("%s%d", time.Now().UTC().Format(setLayout), rand.Uint32())
	if err := w.root.Mkdir(w.set, 0o700); err != nil {
		return err
	}
	for _, name := range w.names {
		if err := w.writeFile(path.Join(w.set, name), w.files[name]); err != nil {
			return err
		}
	}
	set, err := w.root.Open(w.set)
	if err != nil {
		return err
	}
	// Readers may enter once all is there; the files' own mode guards them.
	return errors.Join(w.setGroup(set), set.Chmod(0o755), set.Sync(), set.Close())
}

func (w *writer) writeFile(name string, content []byte) error {
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	// The group comes before the mode, so that no other group has access.
	return errors.Join(err, w.setGroup(f), f.Chmod(w.mode()), f.Sync(), f.Close())
}

func (w *writer) mode() fs.FileMode {
	if w.Mode == 0 {
		return DefaultMode
	}
	return w.Mode.Perm()
}

func (w *writer) setGroup(f *os.File) error {
	if w.Group == 0 {
		return nil
	}
	return f.Chown(-1, w.Group)
}

func (w *writer) prepareSwap() error {
	return w.root.Symlink(w.set, newDataLink)
}

func (w *writer) swap() error {
	if err := w.root.Rename(newDataLink, dataLink); err != nil {
		return err
	}
	return w.sync()
}

func (w *writer) link() error {
	for _, name := range w.names {
		err := w.ours(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = w.root.Symlink(path.Join(dataLink, name), name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) unlink() error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if _, wanted := w.files[name]; wanted || strings.HasPrefix(name, "..") {
			continue
		}
		// What is not ours stays.
		if w.ours(name) != nil {
			continue
		}
		if err := w.root.Remove(name); err != nil {
			return err
		}
	}
	return w.sync()
}

func (w *writer) sync() error {
	d, err := w.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
