// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// variables are those that set no flag.
var variables = [][]string{
	{"`GOGC`", "`tokenserver`", "How much the heap grows between two collections, in percent of what is alive, or `off`; unset: up to 28 MiB without one."},
	{"`HOST_IP`, `POD_IP`", "`refresher --serve`", "The addresses of the node and of the Pod, by which one on its node's network is known."},
	{"`KUBECONFIG`", "`manager`, `kubectl connectedapp`", "The file that says where the cluster is, outside of one."},
	{"`KUBERNETES_SERVICE_HOST`, `KUBERNETES_SERVICE_PORT`", "`refresher`", "Where the API server is; the kubelet sets them."},
	{"`NO_COLOR`", "`kubectl connectedapp`", "Anything: no colours."},
	{"`POD_NAMESPACE`", "`tokenserver`", "Stands in for `$(POD_NAMESPACE)` in `publicURL`."},
}

// readsVariable is how source reads a variable.
var readsVariable = regexp.MustCompile(`[gG]etenv\("([A-Z_]+)"\)|\w+Env += "([A-Z_]+)"`)

// variablesTable is the table of them, held to what the programs below root read.
func variablesTable(root string) (string, error) {
	listed, read := "", "`KUBECONFIG`" // which a library reads
	for _, row := range variables {
		listed += row[0]
	}
	var problems []error
	for _, folder := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testenv") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, found := range readsVariable.FindAllStringSubmatch(string(source), -1) {
				name := "`" + found[1] + found[2] + "`"
				if read += name; !strings.Contains(listed, name) {
					problems = append(problems, fmt.Errorf("%s reads the variable %s, which hack/reference/variables.go does not describe", path, name))
				}
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	for _, name := range regexp.MustCompile("`[A-Z_]+`").FindAllString(listed, -1) {
		if !strings.Contains(read, name) {
			problems = append(problems, fmt.Errorf("nothing reads the variable %s, which hack/reference/variables.go describes", name))
		}
	}
	return table(slices.Concat([][]string{{"variable", "of", "what it says"}}, variables)...), errors.Join(problems...)
}
