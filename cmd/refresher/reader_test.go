// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/refresher"
)

// reader spins over a token directory as an application would, and checks that
// what it reads is there, whole, of one token, and not expired.
type reader struct {
	dir  string
	quit chan struct{}
	done chan error

	mu   sync.Mutex
	seen []string
	// expires is when the latest token does.
	expires time.Time
}

func spin(dir string) *reader {
	r := &reader{dir: dir, quit: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		for {
			select {
			case <-r.quit:
				r.done <- nil
				return
			default:
			}
			if err := r.read(); err != nil {
				r.done <- err
				return
			}
		}
	}()
	return r
}

func (r *reader) read() error {
	now := time.Now()
	if content, err := os.ReadFile(filepath.Join(r.dir, refresher.KeyAccessToken)); err != nil {
		return err
	} else if len(content) == 0 {
		return errors.New("access-token is empty")
	}
	files, err := atomicfile.Read(r.dir)
	if err != nil {
		return err
	}
	token, err := refresher.ParseFiles(files)
	if len(files[refresher.KeyTokenJSON]) == 0 {
		return fs.ErrNotExist // it went between the two looks
	}
	if err != nil {
		return err
	}
	if token.AccessToken != string(files[refresher.KeyAccessToken]) || token.ExpiresAt.Format(time.RFC3339) != string(files[refresher.KeyExpiresAt]) {
		return errors.New("the files are of two tokens")
	}
	if !now.Before(token.ExpiresAt) {
		return fmt.Errorf("it is %s, and the token expired at %s", now, token.ExpiresAt)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 || r.seen[len(r.seen)-1] != token.AccessToken {
		r.seen, r.expires = append(r.seen, token.AccessToken), token.ExpiresAt
	}
	return nil
}

func (r *reader) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

func (r *reader) tokens() int { return len(r.all()) }

func (r *reader) latest() string { return r.all()[r.tokens()-1] }

// waitForTokens waits until the reader has seen so many, and fails with what the
// reader saw in place of one.
func (r *reader) waitForTokens(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); r.tokens() < n; {
		select {
		case err := <-r.done:
			require.NoError(t, err, "in place of token %d", n)
		case <-time.After(10 * time.Millisecond):
		}
		require.True(t, time.Now().Before(deadline), "token %d", n)
	}
}

func (r *reader) stop() error {
	close(r.quit)
	return <-r.done
}
