// SPDX-License-Identifier: Apache-2.0

// Command app is the workload of the tests on a node: it reads its token as
// docs/token-delivery.md says, opening the file anew each time, and trusts what
// is promised there. It waits for nothing and forgives nothing: a token that is
// missing, cut off, of two tokens or expired ends it with an error.
//
// Of each new token it prints a line: what number it is, a hash that tells it
// from others, and when it expires.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// period is how often the file is read.
const period = 10 * time.Millisecond

func main() {
	dir := flag.String("dir", "/var/run/connectedapps/token", "directory of the token")
	tokens := flag.Int("tokens", 0, "end after that many tokens (default: go on)")
	flag.Parse()
	if err := run(*dir, *tokens); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run(dir string, tokens int) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	ticker := time.NewTicker(period)
	defer ticker.Stop()

	last, number := "", 0
	for reads := 1; ; reads++ {
		token, err := read(dir)
		if err != nil {
			return fmt.Errorf("read %d, after %d tokens: %w", reads, number, err)
		}
		if token.AccessToken != last {
			last = token.AccessToken
			number++
			fmt.Printf("token %d: %.6x, expires %s\n", number, sha256.Sum256([]byte(last)), token.ExpiresAt.Format(time.RFC3339))
			if number == tokens {
				fmt.Println("done: all reads found a valid token")
				return nil
			}
		}
		select {
		case <-told:
			return nil
		case <-ticker.C:
		}
	}
}

type token struct {
	AccessToken string    `json:"access_token"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// read reads the token with and without what is told of it. A new token may come
// between two files: then the one without is that of either.
func read(dir string) (token, error) {
	before, err := details(dir)
	if err != nil {
		return token{}, err
	}
	alone, err := os.ReadFile(filepath.Join(dir, "access-token"))
	if err != nil {
		return token{}, err
	}
	after, err := details(dir)
	switch {
	case err != nil:
		return token{}, err
	case string(alone) != before.AccessToken && string(alone) != after.AccessToken:
		return token{}, errors.New("access-token is not the token of token.json")
	case !time.Now().Before(after.ExpiresAt):
		return token{}, fmt.Errorf("the token expired at %s", after.ExpiresAt)
	}
	return after, nil
}

func details(dir string) (t token, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "token.json"))
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("token.json: %w", err)
	}
	if t.AccessToken == "" {
		return t, errors.New("token.json has no access_token")
	}
	return t, nil
}
