// SPDX-License-Identifier: Apache-2.0

// Command rootfs is what Dockerfiles run to get the very files that "make images"
// puts into an image, in the root of the repository:
//
//	rootfs PROGRAM OS ARCHITECTURE VERSION FOLDER
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"connectedapps.dev/operator/hack/release/program"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "rootfs:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 5 {
		return fmt.Errorf("usage: rootfs PROGRAM OS ARCHITECTURE VERSION FOLDER")
	}
	name, platform, version, dir := arguments[0], program.Platform{OS: arguments[1], Arch: arguments[2]}, arguments[3], arguments[4]
	p, ok := program.Find(name)
	if !ok {
		return fmt.Errorf("there is no image of %q; there are %q", name, program.Names(program.Images))
	}
	if err := program.WriteRootfs(dir); err != nil {
		return err
	}
	build := exec.Command("go", append(append([]string{"build"}, p.BuildFlags(version)...), "-o", filepath.Join(dir, p.Name), p.Package())...)
	build.Env = program.Environment(platform)
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	return build.Run()
}
