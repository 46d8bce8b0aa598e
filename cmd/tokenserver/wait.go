// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
)

// waitInterval is how late a file that appears is noticed at most.
const waitInterval = 200 * time.Millisecond

// waitForFiles returns when the configuration file and every file it names are
// there, or when the time is over. Only absence is waited for: what is wrong
// with a file that is there is for the one who reads it.
func waitForFiles(ctx context.Context, config string, wait time.Duration, logger *slog.Logger) error {
	if wait == 0 {
		return nil
	}
	deadline := time.After(wait)
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	logged := ""
	for {
		missing := missingFiles(config)
		if len(missing) == 0 {
			return nil
		}
		list := strings.Join(missing, ", ")
		if list != logged {
			logger.Info("waiting for files", "missing", list, "for", wait)
			logged = list
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			err := fmt.Errorf("waiting for files: %s did not appear within %s", list, wait)
			return &failure{err: err, hint: "mount or make them, or correct the configuration"}
		case <-ticker.C:
		}
	}
}

func missingFiles(path string) []string {
	config, err := tokenserveroptions.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []string{path}
	}
	if err != nil {
		return nil
	}
	var missing []string
	for _, file := range config.Files() {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, file)
		}
	}
	return missing
}
