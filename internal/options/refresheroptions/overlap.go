// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"os"
	"path/filepath"
)

// overlap says how two directories are one, or one is in the other, however they
// are written: by links, "..", relative, or as a bind mount of each other. It is
// empty when they are apart. Neither needs to exist.
func overlap(a, b string) string {
	a, b = resolve(a), resolve(b)
	switch {
	case same(a, b):
		return "is the same directory as"
	case contains(a, b):
		return "holds"
	case contains(b, a):
		return "is inside"
	}
	return ""
}

func same(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// contains reports whether one of the directories above inner is outer. A root
// holds everything.
func contains(outer, inner string) bool {
	for dir := filepath.Dir(inner); ; dir = filepath.Dir(dir) {
		if same(outer, dir) {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

// resolve follows the links of as much of path as exists.
func resolve(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(resolve(parent), filepath.Base(path))
	}
	return path
}
