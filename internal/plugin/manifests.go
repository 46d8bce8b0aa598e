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
	info, err := os.Stat(path)
	if path == "-" || err == nil && !info.IsDir() {
		data, err := ReadInput(path, MaxInput, stdin)
		return []lint.File{{Name: path, Data: data}}, err
	}
	if err != nil {
		return nil, err
	}
	paths, err := manifestsIn(path, recursive)
	if err == nil && len(paths) == 0 {
		err = errors.New(path + " has no .yaml, .yml or .json file; --recursive looks into its folders too")
	}
	var files []lint.File
	for _, file := range paths {
		data, err := ReadInput(file, MaxInput, nil)
		if err != nil {
			return nil, err
		}
		files = append(files, lint.File{Name: file, Data: data, Found: true})
	}
	return files, err
}

// manifestsIn are the files of a folder that kubectl reads.
func manifestsIn(folder string, recursive bool) (files []string, err error) {
	err = fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && !recursive:
			return fs.SkipDir
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)):
			files = append(files, filepath.Join(folder, filepath.FromSlash(name)))
		}
		return nil
	})
	return files, err
}
