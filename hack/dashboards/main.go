// SPDX-License-Identifier: Apache-2.0

// Command dashboards writes the Grafana dashboards of config/monitoring/dashboards.
// It is a module of its own, so that the product does not have Grafana's library
// among its dependencies.
//
//	cd hack/dashboards && go run . -output ../../config/monitoring/dashboards
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

// dashboards by the names of their files.
func dashboards() map[string]board {
	return map[string]board{"operator": operator(), "tokens": tokens(), "tokenserver": tokenServer()}
}

func main() {
	output := flag.String("output", ".", "`folder` to write to")
	flag.Parse()
	if err := write(*output); err != nil {
		log.SetFlags(0)
		log.Fatalf("dashboards: %v", err)
	}
}

func write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	for name, b := range dashboards() {
		built, err := b.build(name)
		if err != nil {
			return fmt.Errorf("building %s: %w", name, err)
		}
		text, err := json.MarshalIndent(built, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, name+".json"), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
