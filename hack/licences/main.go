// SPDX-License-Identifier: Apache-2.0

// Command licences checks that every source file of ours has a licence header
// and that every module compiled into our programs and tests has a licence on
// the list of allowed ones.
package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const header = "SPDX-License-Identifier: Apache-2.0"

// sources are the directories with files of ours.
var sources = []string{"api", "cmd", "config", "hack", "internal", "test"}

// generated files have the header of their generator.
var generated = []string{"config/crd/bases", "config/rbac/role.yaml", "config/rbac/tenant/role.yaml"}

func main() {
	if len(os.Args) > 1 {
		for _, dir := range os.Args[1:] {
			fmt.Println(licenceOf(dir))
		}
		return
	}
	problems := slices.Concat(checkHeaders(), checkDependencies())
	for _, problem := range problems {
		_, _ = fmt.Fprintln(os.Stderr, "✘", problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
	fmt.Println("✔ licences of our files and of all dependencies")
}

func checkHeaders() (problems []string) {
	for _, dir := range sources {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !needsHeader(path) {
				return err
			}
			ok, err := hasHeader(path)
			if !ok {
				problems = append(problems, path+`: the line "`+header+`" is missing at its start`)
			}
			return err
		})
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}

func needsHeader(path string) bool {
	for _, prefix := range generated {
		if strings.HasPrefix(filepath.ToSlash(path), prefix) {
			return false
		}
	}
	if strings.Contains(filepath.ToSlash(path), "/testdata/") {
		return false
	}
	return slices.Contains([]string{".go", ".sh", ".yaml"}, filepath.Ext(path))
}

// hasHeader looks at the first lines: a script has its interpreter before it, a
// file with build constraints has them.
func hasHeader(path string) (bool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	return bytes.Contains(data[:min(len(data), 200)], []byte(header)), nil
}

// checkDependencies looks at the modules of the packages we compile, not at
// those that go.mod merely names.
func checkDependencies() (problems []string) {
	output, err := exec.Command("go", "list", "-deps", "-test",
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./...").Output()
	if err != nil {
		return []string{fmt.Sprintf("listing dependencies: %v", err)}
	}
	modules := strings.Fields(strings.ReplaceAll(string(output), "\n", "\t"))
	seen := map[string]bool{}
	for i := 0; i+1 < len(modules); i += 2 {
		path, dir := modules[i], modules[i+1]
		if seen[path] {
			continue
		}
		seen[path] = true
		if name := licenceOf(dir); !slices.Contains(allowed, name) {
			problems = append(problems, fmt.Sprintf("%s: its licence is %s; allowed are %s", path, name, strings.Join(allowed, ", ")))
		}
	}
	return problems
}
