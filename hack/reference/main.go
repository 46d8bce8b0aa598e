// SPDX-License-Identifier: Apache-2.0

// Command reference writes docs/reference: a page for each kind from its CRD, and
// what else has to be looked up from the constants and flags of the programs. What
// has no text there, such as a field without a comment, is an error.
//
//	go run ./hack/reference -output .
package main

import (
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
)

// folder of the pages below the root of the repository.
const folder = "docs/reference"

// generated is in the head of each page.
const generated = "<!-- Written by make manifests; what it says is in the source. -->\n\n"

func main() {
	output := flag.String("output", ".", "`folder` with config/crd/bases, to write below")
	flag.Parse()
	if err := run(".", *output); err != nil {
		log.SetFlags(0)
		log.Fatalf("reference: %v", err)
	}
}

// run writes the pages below output, where the CRDs are; all else is read below root.
func run(root, output string) error {
	pages := map[string]string{"README.md": index()}
	for _, made := range []func() (map[string]string, error){
		func() (map[string]string, error) { return kindPages(root, filepath.Join(output, "config/crd/bases")) },
		func() (map[string]string, error) { return conditionsPage(root) },
		func() (map[string]string, error) { return namesPage(root) },
		func() (map[string]string, error) { return flagsPage(root) },
		func() (map[string]string, error) { return pluginPage(root) },
	} {
		some, err := made()
		if err != nil {
			return err
		}
		maps.Copy(pages, some)
	}
	return write(filepath.Join(output, folder), pages)
}

// write makes a folder with these pages and no others.
func write(folder string, pages map[string]string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the folder of the pages: %w", err)
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(page), 0o644); err != nil {
			return err
		}
	}
	return nil
}
