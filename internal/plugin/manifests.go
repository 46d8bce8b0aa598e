// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"connectedapps.dev/operator/internal/plugin/lint"
)

// Manifests reads files as kubectl's --filename does: a file, a folder with
// .yaml, .yml and .json files, with those of its folders if recursive, or - for
// standard input.
func Manifests(paths []string, recursive bool, stdin io.Reader) ([]lint.File, error) {
	var files []lint.File
	for _, path := range paths {
		read, err := manifests(path, recursive, stdin)
		if err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
		files = append(files, read...)
	}
	return files, nil
}

func manifests(path string, recursive bool, stdin io.Reader) ([]lint.File, error) {
	if path == "-" {
		data, err := io.ReadAll(stdin)
		return []lint.File{{Name: "-", Data: data}}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		data, err := os.ReadFile(path)
		return []lint.File{{Name: path, Data: data}}, err
	}
	var files []lint.File
	folder := os.DirFS(path)
	err = fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && !recursive:
			return fs.SkipDir
		case entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)):
			return nil
		}
		data, err := fs.ReadFile(folder, name)
		files = append(files, lint.File{Name: filepath.Join(path, filepath.FromSlash(name)), Data: data, Found: true})
		return err
	})
	if err == nil && len(files) == 0 {
		err = errors.New(path + " has no .yaml, .yml or .json file; --recursive looks into its folders too")
	}
	return files, err
}
