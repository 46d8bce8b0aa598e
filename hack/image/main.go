// SPDX-License-Identifier: Apache-2.0

// Command image puts a static program into an image, without a container engine
// and without a registry: an OCI layout in a tar file, which container runtimes
// import and tools such as skopeo copy to a registry.
//
//	image -name docker.io/connectedapps/manager:dev -output manager.tar bin/manager
//
// As in our Dockerfiles, the program is in the root directory of an image that
// has nothing else, and runs as user and group 65532. What goes in alone decides
// what comes out: there are no times in it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

func main() {
	name := flag.String("name", "", "full name of the image, with registry and tag")
	output := flag.String("output", "", "file to write")
	flag.Parse()
	if err := run(*name, *output, flag.Args()); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(name, output string, programs []string) (err error) {
	if name == "" || output == "" || len(programs) != 1 {
		return errors.New("usage: image -name NAME -output FILE PROGRAM")
	}
	program, err := os.ReadFile(programs[0])
	if err != nil {
		return err
	}
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(err, os.Remove(output))
		}
	}()
	return write(file, image{name: name, program: filepath.Base(programs[0]), content: program, architecture: runtime.GOARCH})
}
