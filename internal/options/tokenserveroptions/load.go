// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/configapps"
	"connectedapps.dev/operator/internal/tokenserver/directory"
)

// Loaded is a valid configuration.
type Loaded struct {
	Config    *Config
	Directory *directory.Directory
	// Apps are Config.Apps with their secrets and keys.
	Apps []configapps.App
	// Warnings are allowed and probably not meant.
	Warnings []string
}

// Overrides replace fields of the file; empty ones do not.
type Overrides struct{ Listen, OperationsListen string }

// Load reads and validates a configuration file and the files it names. The
// error is Problems when the file could be read.
func Load(path string, o Overrides) (*Loaded, error) { return load(path, o, true) }

// LoadText is Load without reading the files that the configuration names, for
// where they are not.
func LoadText(path string) (*Loaded, error) { return load(path, Overrides{}, false) }

// Read reads a configuration file and reports only what makes it unreadable:
// enough to know which files it names.
func Read(path string) (*Config, error) {
	config, _, problems, err := read(path)
	if err != nil {
		return nil, err
	}
	return config, problems.err()
}

func load(path string, o Overrides, files bool) (*Loaded, error) {
	config, at, problems, err := read(path)
	if err != nil {
		return nil, err
	}
	if at == nil {
		return nil, problems.err()
	}
	config.Listen = cmp.Or(o.Listen, config.Listen)
	config.OperationsListen = cmp.Or(o.OperationsListen, config.OperationsListen)
	v := &validator{config: config, positions: at, problems: problems, readsFiles: files}
	v.validate()
	readHash := noPasswordHash
	if files {
		v.checkFiles()
		readHash = readPasswordHash
	}
	d := v.directory(readHash)
	apps := v.apps(d, files)
	if err := v.dropRepeats().err(); err != nil {
		return nil, err
	}
	return &Loaded{Config: config, Directory: d, Apps: apps, Warnings: v.warnings}, nil
}

// dropRepeats keeps the first problem of each field: that something is missing
// says nothing new when what should hold it could not be read.
func (v *validator) dropRepeats() Problems {
	var kept Problems
	seen := map[string]bool{}
	for _, problem := range v.problems {
		if !covered(problem.Path, seen) {
			kept = append(kept, problem)
		}
		seen[problem.Path] = true
	}
	return kept
}

// covered tells whether path or an object around it is among seen.
func covered(path string, seen map[string]bool) bool {
	for path != "" {
		if seen[path] {
			return true
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return false
}

func read(path string) (*Config, positions, Problems, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading the configuration: %w", err)
	}
	config := defaults()
	at, problems := decode(data, config)
	config.completePublicURL()
	config.completeIssuers()
	config.resolve(filepath.Dir(path))
	return config, at, problems, nil
}
