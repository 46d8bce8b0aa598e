// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// generation is a set whose files all tell its number, so that a mix of two
// sets is seen.
func generation(n int) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range []string{"access-token", "expires-at", "token.json"} {
		files[name] = []byte(strconv.Itoa(n))
	}
	return files
}

func requireGeneration(t *testing.T, dir string, n int) {
	t.Helper()
	files, err := Read(dir)
	require.NoError(t, err)
	require.Equal(t, generation(n), files)
	for name := range files {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err, "the visible file must lead to the set")
		require.Equal(t, strconv.Itoa(n), string(content))
	}
}

func timestamped(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var found []string
	for _, e := range entries {
		if isOurs(e.Name()) {
			found = append(found, e.Name())
		}
	}
	return found
}

func TestWriteMakesTheKubeletLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, Dir{Path: dir}.Write(generation(1)))
	requireGeneration(t, dir, 1)

	target, err := os.Readlink(filepath.Join(dir, "access-token"))
	require.NoError(t, err)
	require.Equal(t, "..data/access-token", target)
	target, err = os.Readlink(filepath.Join(dir, "..data"))
	require.NoError(t, err)
	require.True(t, isOurs(target), target)
}

func TestWriteReplacesTheSetAndKeepsOneBefore(t *testing.T) {
	dir := t.TempDir()
	for n := range 5 {
		require.NoError(t, Dir{Path: dir}.Write(generation(n)))
		requireGeneration(t, dir, n)
		require.Len(t, timestamped(t, dir), min(n+1, 2), "the current set and the one before")
	}
}

func TestWriteRemovesNamesThatLeftTheSet(t *testing.T) {
	dir := t.TempDir()
	files := generation(1)
	files["id-token"] = []byte("x")
	require.NoError(t, Dir{Path: dir}.Write(files))
	require.FileExists(t, filepath.Join(dir, "id-token"))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes"), []byte("mine"), 0o600))
	require.NoError(t, Dir{Path: dir}.Write(generation(2)))
	_, err := os.Lstat(filepath.Join(dir, "id-token"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.FileExists(t, filepath.Join(dir, "notes"), "a stranger's file stays")
}

func TestWriteSetsModeWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for _, mode := range []fs.FileMode{0, 0o400, 0o444, 0o640} {
		dir := t.TempDir()
		for n := range 2 {
			require.NoError(t, Dir{Path: dir, Mode: mode}.Write(generation(n)))
			info, err := os.Stat(filepath.Join(dir, "access-token"))
			require.NoError(t, err)
			want := mode
			if mode == 0 {
				want = DefaultMode
			}
			require.Equal(t, want, info.Mode().Perm())
		}
		set, err := os.Stat(filepath.Join(dir, "..data"))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o755), set.Mode().Perm())
	}
}

// someGroup is a group other than the process's own that it may give files to.
func someGroup(t *testing.T) int {
	t.Helper()
	if os.Getuid() == 0 {
		return 12345
	}
	groups, err := os.Getgroups()
	require.NoError(t, err)
	for _, g := range groups {
		if g != os.Getgid() {
			return g
		}
	}
	return os.Getgid()
}

func TestWriteSetsGroup(t *testing.T) {
	dir, group := t.TempDir(), someGroup(t)
	require.NoError(t, Dir{Path: dir, Group: group}.Write(generation(1)))
	for _, name := range []string{"access-token", "..data"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.EqualValues(t, group, info.Sys().(*syscall.Stat_t).Gid, name)
	}
}

func TestWriteRefusesNamesAndChangesNothing(t *testing.T) {
	for _, name := range []string{"", ".", "..", "..data", "..x", "a/b", "/etc/passwd", "a\x00b", strings.Repeat("n", 256)} {
		dir := filepath.Join(t.TempDir(), "d")
		err := Dir{Path: dir}.Write(map[string][]byte{"ok": nil, name: []byte("x")})
		require.ErrorContains(t, err, "not allowed", "%q", name)
		require.NoDirExists(t, dir)
	}
	require.ErrorContains(t, Dir{Path: t.TempDir()}.Write(nil), "empty")
}

func TestWriteRefusesToReplaceWhatItDidNotMake(t *testing.T) {
	t.Run("a regular file of a published name", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "access-token")
		require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
		require.ErrorContains(t, Dir{Path: dir}.Write(generation(1)), "access-token exists and was not written by this program")
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "mine", string(content))
		require.NoDirExists(t, filepath.Join(dir, "..data"))
	})
	t.Run("a symlink to elsewhere", func(t *testing.T) {
		dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "f")
		require.NoError(t, os.Symlink(elsewhere, filepath.Join(dir, "access-token")))
		require.ErrorContains(t, Dir{Path: dir}.Write(generation(1)), "was not written by this program")
		require.NoFileExists(t, elsewhere)
	})
	t.Run("a directory named ..data", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "..data"), 0o755))
		require.ErrorContains(t, Dir{Path: dir}.Write(generation(1)), "..data is in the way")
	})
}

func TestWriteSurvivesACrashAfterAnyStep(t *testing.T) {
	crash := errors.New("crash")
	for step := range steps {
		t.Run(steps[step].name, func(t *testing.T) {
			dir := t.TempDir()
			crashing := Dir{Path: dir, afterStep: func(s int) error {
				if s == step {
					return crash
				}
				return nil
			}}
			require.ErrorIs(t, crashing.Write(generation(1)), crash, "on an empty directory")
			require.NoError(t, Dir{Path: dir}.Write(generation(2)))
			requireGeneration(t, dir, 2)

			require.ErrorIs(t, crashing.Write(generation(3)), crash, "on a full one")
			files, err := Read(dir)
			require.NoError(t, err)
			n, err := strconv.Atoi(string(files["access-token"]))
			require.NoError(t, err)
			require.Contains(t, []int{2, 3}, n)
			requireGeneration(t, dir, n)

			require.ErrorIs(t, crashing.Write(generation(4)), crash, "crashing again")
			require.NoError(t, Dir{Path: dir}.Write(generation(5)))
			requireGeneration(t, dir, 5)
			require.LessOrEqual(t, len(timestamped(t, dir)), 2, "nothing piles up")
			require.NoFileExists(t, filepath.Join(dir, newDataLink))
		})
	}
}

// TestReadersNeverSeeHalfASet spins two kinds of readers while the set is
// replaced: one that opens a single file by its visible name, as applications
// do, and one that reads the whole set.
func TestReadersNeverSeeHalfASet(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Dir{Path: dir}.Write(generation(0)))
	var stop atomic.Bool
	results := make(chan error, 2)
	reads := func(read func() error) {
		for !stop.Load() {
			if err := read(); err != nil {
				results <- err
				return
			}
		}
		results <- nil
	}
	go reads(func() error {
		content, err := os.ReadFile(filepath.Join(dir, "access-token"))
		if err == nil && len(content) == 0 {
			err = errors.New("the file is empty")
		}
		return err
	})
	go reads(func() error {
		files, err := Read(dir)
		if err != nil {
			return err
		}
		if a, b, c := string(files["access-token"]), string(files["expires-at"]), string(files["token.json"]); a != b || b != c {
			return fmt.Errorf("mixed set: %q %q %q", a, b, c)
		}
		return nil
	})
	var writeErr error
	for n := range 300 {
		if writeErr = (Dir{Path: dir}).Write(generation(n)); writeErr != nil {
			break
		}
	}
	stop.Store(true)
	require.NoError(t, writeErr)
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	requireGeneration(t, dir, 299)
}

const childEnv = "ATOMICFILE_TEST_DIRECTORY"

// TestKilledWriter kills a process that writes without pause, again and again,
// and finds one whole set each time.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		for n := 0; ; n++ {
			if err := (Dir{Path: dir}).Write(generation(n)); err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println("written")
		}
	}
	dir := t.TempDir()
	for round := range 10 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		child.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines := bufio.NewScanner(out)
		for range 3 + round {
			require.True(t, lines.Scan())
			require.Equal(t, "written", lines.Text())
		}
		require.NoError(t, child.Process.Kill())
		_ = child.Wait()

		files, err := Read(dir)
		require.NoError(t, err)
		n, err := strconv.Atoi(string(files["access-token"]))
		require.NoError(t, err)
		requireGeneration(t, dir, n)
	}
	require.NoError(t, Dir{Path: dir}.Write(generation(1)))
	require.LessOrEqual(t, len(timestamped(t, dir)), 2)
}

func TestReadTakesPlainDirectories(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "client-id"), []byte("a"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.Symlink("sub", filepath.Join(dir, "link")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	files, err := Read(dir)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"client-id": []byte("a")}, files)
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	_, err := Read(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "big"), make([]byte, maxFile+1), 0o600))
	_, err = Read(dir)
	require.ErrorContains(t, err, "big is larger than 1 MiB")
}

func TestCheckTouchesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, Dir{Path: dir}.Check())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)

	require.NoError(t, os.WriteFile(filepath.Join(dir, checkPrefix+"1"), nil, 0o600), "a check that was killed")
	require.NoError(t, Dir{Path: dir}.Write(generation(1)))
	require.NoFileExists(t, filepath.Join(dir, checkPrefix+"1"))
}

func TestCheckSaysWhyItCannotWork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, Dir{Path: file}.Check(), "making the directory")
	require.ErrorContains(t, Dir{Path: "/proc"}.Check(), "writing to the directory")
}

// kubeletDirectory is a mounted Secret: its layout is ours, and it is not ours.
func kubeletDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	set := "..2026_11_23_20_49_00.3141592653"
	require.NoError(t, os.Mkdir(filepath.Join(dir, set), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, set, "client-secret"), []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(set, filepath.Join(dir, dataLink)))
	require.NoError(t, os.Symlink("..data/client-secret", filepath.Join(dir, "client-secret")))
	return dir
}

func tree(t *testing.T, dir string) (entries []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		entries = append(entries, path+" "+entry.Type().String())
		return err
	}))
	return entries
}

func TestADirectoryOfAnotherProgramIsLeftAsItIs(t *testing.T) {
	for name, do := range map[string]func(Dir) error{
		"Write": func(d Dir) error { return d.Write(generation(1)) },
		"Check": Dir.Check,
		"Clear": Dir.Clear,
	} {
		t.Run(name, func(t *testing.T) {
			dir := kubeletDirectory(t)
			before := tree(t, dir)
			err := do(Dir{Path: dir})
			require.ErrorContains(t, err, dir)
			require.ErrorContains(t, err, "..data leads to ..2026_11_23_20_49_00.3141592653, which another program wrote: this one needs a directory of its own")
			require.Equal(t, before, tree(t, dir))
			content, err := os.ReadFile(filepath.Join(dir, "client-secret"))
			require.NoError(t, err)
			require.Equal(t, "secret", string(content))
		})
	}
	t.Run("a set that the kubelet has not swapped in yet", func(t *testing.T) {
		dir := kubeletDirectory(t)
		require.NoError(t, os.Remove(filepath.Join(dir, dataLink)))
		require.NoError(t, Dir{Path: dir}.Write(generation(1)))
		require.FileExists(t, filepath.Join(dir, "..2026_11_23_20_49_00.3141592653", "client-secret"))
	})
}

func TestLockKeepsASecondOneOut(t *testing.T) {
	dir := Dir{Path: t.TempDir()}
	unlock, err := dir.Lock()
	require.NoError(t, err)
	_, err = dir.Lock()
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, dir.Path)
	unlock()
	unlock, err = dir.Lock()
	require.NoError(t, err)
	unlock()
}

func TestClearTakesTheSetAway(t *testing.T) {
	dir := Dir{Path: t.TempDir()}
	require.NoError(t, dir.Clear(), "nothing is there")
	require.NoError(t, dir.Write(generation(1)))
	require.NoError(t, dir.Write(generation(2)))
	require.NoError(t, os.WriteFile(filepath.Join(dir.Path, "notes"), []byte("mine"), 0o600))
	require.NoError(t, dir.Clear())
	entries, err := os.ReadDir(dir.Path)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "notes", entries[0].Name(), "a stranger's file stays")
	require.NoError(t, dir.Write(generation(3)))
	requireGeneration(t, dir.Path, 3)
	require.NoError(t, Dir{Path: filepath.Join(dir.Path, "missing")}.Clear())
}
