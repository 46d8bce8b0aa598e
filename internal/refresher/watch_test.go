// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
)

// watched starts a watch, and waits until it has begun. seen is what read found
// after the last change that was told.
func watched(t *testing.T, read func() string, paths ...string) (seen func(want string)) {
	t.Helper()
	changes := make(chan string, 100)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, paths, slog.New(slog.DiscardHandler), func() { changes <- read() })
	}()
	t.Cleanup(func() { stop(); <-done })
	<-changes
	return func(want string) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for {
			select {
			case got := <-changes:
				if got == want {
					return
				}
			case <-deadline:
				t.Fatalf("nobody was told of %q", want)
			}
		}
	}
}

func fileReader(path string) func() string {
	return func() string {
		content, err := os.ReadFile(path)
		if err != nil {
			return "none"
		}
		return string(content)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestEveryChangeOfCredentialsIsTold(t *testing.T) {
	mount := func(t *testing.T, dir, content string) {
		require.NoError(t, atomicfile.Dir{Path: dir}.Write(map[string][]byte{"client-secret": []byte(content)}))
	}
	for name, test := range map[string]struct {
		before, change func(t *testing.T, base string)
		path           string // in base, watched
		read           string // in base
	}{
		"the kubelet swaps a Secret": {
			func(t *testing.T, base string) { mount(t, base+"/creds", "old") },
			func(t *testing.T, base string) { mount(t, base+"/creds", "new") },
			"creds", "creds/client-secret",
		},
		"a file is written": {
			func(t *testing.T, base string) { put(t, base+"/creds/client-secret", "old") },
			func(t *testing.T, base string) { put(t, base+"/creds/client-secret", "new") },
			"creds", "creds/client-secret",
		},
		"a file is moved in": {
			func(t *testing.T, base string) { put(t, base+"/creds/client-secret", "old") },
			func(t *testing.T, base string) {
				put(t, base+"/next", "new")
				require.NoError(t, os.Rename(base+"/next", base+"/creds/client-secret"))
			},
			"creds", "creds/client-secret",
		},
		"the directory comes later": {
			func(*testing.T, string) {},
			func(t *testing.T, base string) { put(t, base+"/creds/client-secret", "new") },
			"creds", "creds/client-secret",
		},
		"the directory and those above come later": {
			func(*testing.T, string) {},
			func(t *testing.T, base string) { put(t, base+"/a/b/creds/client-secret", "new") },
			"a/b/creds", "a/b/creds/client-secret",
		},
		"the directory is replaced as a whole": {
			func(t *testing.T, base string) { put(t, base+"/creds/client-secret", "old") },
			func(t *testing.T, base string) {
				put(t, base+"/next/client-secret", "new")
				require.NoError(t, os.Rename(base+"/creds", base+"/former"))
				require.NoError(t, os.Rename(base+"/next", base+"/creds"))
			},
			"creds", "creds/client-secret",
		},
		"the directory is removed and made again": {
			func(t *testing.T, base string) { put(t, base+"/creds/client-secret", "old") },
			func(t *testing.T, base string) {
				require.NoError(t, os.RemoveAll(base+"/creds"))
				put(t, base+"/creds/client-secret", "new")
			},
			"creds", "creds/client-secret",
		},
		"the directory is a link that leads elsewhere now": {
			func(t *testing.T, base string) {
				put(t, base+"/v1/client-secret", "old")
				put(t, base+"/v2/client-secret", "new")
				require.NoError(t, os.Symlink("v1", base+"/creds"))
			},
			func(t *testing.T, base string) {
				require.NoError(t, os.Symlink("v2", base+"/next"))
				require.NoError(t, os.Rename(base+"/next", base+"/creds"))
			},
			"creds", "creds/client-secret",
		},
		"a file by itself": {
			func(t *testing.T, base string) { put(t, base+"/key.pem", "old") },
			func(t *testing.T, base string) { put(t, base+"/key.pem", "new") },
			"key.pem", "key.pem",
		},
		"the kubelet swaps a file by itself": {
			func(t *testing.T, base string) { mount(t, base+"/creds", "old") },
			func(t *testing.T, base string) { mount(t, base+"/creds", "new") },
			"creds/client-secret", "creds/client-secret",
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			test.before(t, base)
			seen := watched(t, fileReader(filepath.Join(base, test.read)), filepath.Join(base, test.path))
			test.change(t, base)
			seen("new")
			// Whatever was replaced is watched again.
			require.NoError(t, os.RemoveAll(filepath.Join(base, test.path)))
			seen("none")
			put(t, filepath.Join(base, test.read), "again")
			seen("again")
		})
	}
}

// What changes beside the credentials is no news.
func TestNeighboursAreNotWatched(t *testing.T) {
	base := t.TempDir()
	put(t, base+"/creds/client-secret", "old")
	var told atomic.Int64
	seen := watched(t, func() string { told.Add(1); return fileReader(base + "/creds/client-secret")() }, base+"/creds")
	before := told.Load()
	for range 100 {
		put(t, base+"/token", "x")
		put(t, base+"/out/access-token", "x")
	}
	put(t, base+"/creds/client-secret", "new")
	seen("new")
	require.LessOrEqual(t, told.Load()-before, int64(2))
}

// A directory that is being written is not taken by half, and one that changes
// without end is taken nevertheless.
func TestAChangeIsToldWhenItHasSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, told := make(chan struct{}), []time.Duration{}
		ctx, stop := context.WithCancel(t.Context())
		begin := time.Now()
		go settle(ctx, events, func() { told = append(told, time.Since(begin)) })
		for range 5 {
			events <- struct{}{}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{400*time.Millisecond + settled}, told)

		told, begin = nil, time.Now()
		for range 50 {
			events <- struct{}{}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		require.Len(t, told, 2)
		require.Equal(t, settledAtLast, told[0])
		stop()
		synctest.Wait()
	})
}
