// SPDX-License-Identifier: Apache-2.0

// Command chart writes what the Helm chart has from elsewhere, so that nothing is
// maintained twice: the objects of config/, the alerts of docs/runbooks, which
// config/monitoring gets as well, and, in the chart's README.md, the table of its
// values.
//
//	go run ./hack/chart -kubectl bin/k8s/kubectl -output .
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

// chart is the folder of the chart below the root of the repository.
const chart = "charts/connectedapps"

func main() {
	kubectl := flag.String("kubectl", "kubectl", "`program` that builds kustomizations")
	output := flag.String("output", ".", "`folder` to write below")
	flag.Parse()
	if err := run(*kubectl, *output); err != nil {
		log.SetFlags(0)
		log.Fatalf("chart: %v", err)
	}
}

func run(kubectl, output string) error {
	files := map[string][]byte{}
	if err := (kustomize{kubectl: kubectl, root: "."}).manifests(context.Background(), files); err != nil {
		return err
	}
	groups, err := readRules(".")
	if err != nil {
		return err
	}
	if files["rules.yaml"], err = ruleFile(groups); err != nil {
		return err
	}
	rule, err := prometheusRule(groups)
	if err != nil {
		return err
	}
	readme, err := withTable(chart)
	if err != nil {
		return err
	}
	written := filepath.Join(output, chart, "files")
	// What is gone there must not stay in the chart.
	if err := os.RemoveAll(written); err != nil {
		return err
	}
	for name, content := range files {
		if err := write(filepath.Join(written, name), content); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(output, "config", "monitoring", "alerts", "prometheus_rule.yaml"), rule); err != nil {
		return err
	}
	return write(filepath.Join(output, chart, "README.md"), readme)
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the folder of a file: %w", err)
	}
	return os.WriteFile(path, content, 0o644)
}
