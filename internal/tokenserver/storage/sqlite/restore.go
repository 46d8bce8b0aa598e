// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// ErrInterrupted says that Restore moved a database away and put none in its place.
var ErrInterrupted = errors.New("restoring it was interrupted")

// Restore makes the database file at path of a backup, which it reads from r. The
// file appears whole, on the disk and examined, or not at all. check is called with
// its keys before that.
//
// With replace a former database is moved to a folder beside it, which is returned;
// without, it stays, and the error is fs.ErrExist. No server may have it open. When
// this is killed, calling it again does all of it; should no database be there
// meanwhile, Open makes no new one but gives ErrInterrupted.
func Restore(
	ctx context.Context, r io.Reader, path string, replace bool, check func(context.Context, storage.KeyReader) error,
) (former string, err error) {
	if path, err = resolved(path); err != nil {
		return "", err
	}
	unlock, err := lock(path + lockSuffix)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	e, err := newExchange(path, replace)
	if err != nil {
		return "", err
	}
	partial, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+partialSuffix) // mode 0600
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = errors.Join(partial.Close(), os.Remove(partial.Name())) }()
	if err := receive(ctx, partial, r); err != nil {
		return "", fmt.Errorf("reading the backup: %w", err)
	}
	if err := examine(ctx, partial.Name(), check); err != nil {
		return "", fmt.Errorf("examining the backup: %w", err)
	}
	if err := partial.Sync(); err != nil {
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	if err := e.moveAway(); err != nil {
		return "", fmt.Errorf("moving the former database away: %w", err)
	}
	if err := appear(partial.Name(), path); err != nil {
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	return e.former, e.end()
}

// receive reads to the end, or until ctx is done, for nobody may ever send anything.
func receive(ctx context.Context, to io.Writer, from io.Reader) error {
	received := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, from)
		received <- err
	}()
	select {
	case err := <-received:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// exchange is a database that another takes the place of. A note beside it says which
// folder it goes to, from before the first of its files goes until the other is there.
type exchange struct {
	path   string
	parts  []string // what is there of it
	former string   // the folder; empty when there is none
	begun  bool     // an exchange that was interrupted is gone on with
}

const (
	lockSuffix    = ".lock"
	partialSuffix = ".partial"
	noteSuffix    = ".restoring"
)

func newExchange(path string, replace bool) (*exchange, error) {
	if err := removePartials(path); err != nil {
		return nil, err
	}
	former, err := interrupted(path)
	if err != nil {
		return nil, err
	}
	e := &exchange{path: path, former: former, begun: former != ""}
	if e.begun {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if e.parts, err = partsOf(path); err != nil || e.begun {
		return e, err
	}
	if len(e.parts) == 0 {
		return e, nil
	}
	if !replace {
		return nil, fmt.Errorf("writing %s: %w", e.parts[0], fs.ErrExist)
	}
	e.former, err = newFolder(path)
	return e, err
}

const formerInfix = ".replaced-"

// newFolder is a name for the folder of a former database that none has yet.
func newFolder(path string) (string, error) {
	folder := path + formerInfix + time.Now().UTC().Format("20060102T150405Z")
	for name, n := folder, 2; ; name, n = fmt.Sprintf("%s-%d", folder, n), n+1 {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

// moveAway begins with the file at path: while that is there, nothing is gone.
func (e *exchange) moveAway() error {
	if len(e.parts) == 0 {
		return nil
	}
	if !e.begun {
		if err := e.writeNote(); err != nil {
			return err
		}
	}
	if err := os.Mkdir(e.former, 0o700); err != nil && (!e.begun || !errors.Is(err, fs.ErrExist)) {
		return err
	}
	for _, part := range e.parts {
		if err := os.Rename(part, filepath.Join(e.former, filepath.Base(part))); err != nil {
			return err
		}
	}
	return syncFolder(e.former)
}

// writeNote returns once the note is on the disk: a power cut leaves it, or all files.
func (e *exchange) writeNote() error {
	note, err := os.OpenFile(e.path+noteSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = note.WriteString(filepath.Base(e.former) + "\n")
	return errors.Join(err, note.Sync(), note.Close(), syncFolder(filepath.Dir(e.path)))
}

// end is after the other database is there.
func (e *exchange) end() error {
	folder := filepath.Dir(e.path)
	if err := syncFolder(folder); err != nil {
		return err
	}
	if err := os.Remove(e.path + noteSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(folder)
}

// interrupted is the folder of the database that was at path, when none came in its
// place; empty otherwise. A file that is empty is where appear wanted to put one.
func interrupted(path string) (former string, err error) {
	if info, err := os.Lstat(path); err == nil && info.Size() > 0 {
		return "", nil
	}
	note, err := os.ReadFile(path + noteSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if name := strings.TrimSpace(string(note)); name != "" {
		return filepath.Join(filepath.Dir(path), filepath.Base(name)), nil
	}
	// The disk has lost what it says: it is the newest folder.
	folders, err := filepath.Glob(globQuoted.Replace(path) + formerInfix + "*")
	if err != nil {
		return "", err
	}
	if len(folders) == 0 {
		return newFolder(path)
	}
	return slices.Max(folders), nil
}

var globQuoted = strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`)

// removePartials takes away what a Restore left that was killed: another runs not,
// while this one has the lock.
func removePartials(path string) error {
	folder := filepath.Dir(path)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, "."+filepath.Base(path)+".") && (strings.HasSuffix(name, partialSuffix) || strings.Contains(name, partialSuffix+"-")) {
			err = errors.Join(err, os.Remove(filepath.Join(folder, name)))
		}
	}
	return err
}

// resolved is where a path leads by links, of which the last may lead to a file that is
// still to be made: the other files of a database are beside that.
func resolved(path string) (string, error) {
	for range 40 {
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // it is no link; who opens it says what else is wrong
		}
		if !filepath.IsAbs(target) {
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			target = filepath.Join(folder, target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: %w", path, syscall.ELOOP)
}

// partsOf are the files of the database at path that are there. What a -wal holds
// would be taken for the newest part of whatever is put at path.
func partsOf(path string) (parts []string, err error) {
	for _, part := range []string{path, path + "-wal", path + "-shm", path + "-journal"} {
		switch _, err := os.Lstat(part); {
		case err == nil:
			parts = append(parts, part)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return parts, nil
}
