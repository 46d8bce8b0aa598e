// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const header = "# SPDX-License-Identifier: Apache-2.0\n# Generated from %s by make manifests.\n"

// set is a folder of the chart with an object in each file: those of a
// kustomization that are not the same in another.
type set struct {
	name, source, without string
	skip                  func(kind, namespace string) bool
}

// sets of the chart. The namespace belongs to whoever installs a chart. Of
// config/namespaced only what is about Events in the namespace default is not in
// another set.
var sets = []set{
	{name: "crds", source: "config/crd"},
	{name: "default", source: "config/default", without: "config/crd", skip: func(kind, _ string) bool { return kind == "Namespace" }},
	{name: "postgresql", source: "config/postgresql", without: "config/default"},
	{name: "injection", source: "config/injection"},
	{name: "monitors", source: "config/monitoring/monitors"},
	{name: "dashboards", source: "config/monitoring/dashboards"},
	{name: "tenant", source: "config/rbac/tenant"},
	{name: "events", source: "config/namespaced", without: "config/default", skip: func(_, namespace string) bool { return namespace != "default" }},
}

// kustomize builds kustomizations of a repository.
type kustomize struct {
	kubectl, root string
}

// manifests adds the files of all sets.
func (k kustomize) manifests(ctx context.Context, files map[string][]byte) error {
	for _, s := range sets {
		known := map[string][]byte{}
		if s.without != "" {
			var err error
			if known, err = k.objects(ctx, set{source: s.without}); err != nil {
				return err
			}
		}
		found, err := k.objects(ctx, s)
		if err != nil {
			return err
		}
		for name, object := range found {
			if !bytes.Equal(object, known[name]) {
				files[filepath.Join(s.name, name)] = append(fmt.Appendf(nil, header, s.source), object...)
			}
		}
	}
	return nil
}

// objects of a set, by the names of their files.
func (k kustomize) objects(ctx context.Context, s set) (map[string][]byte, error) {
	command := exec.CommandContext(ctx, k.kubectl, "kustomize", filepath.Join(k.root, s.source))
	stderr := &bytes.Buffer{}
	command.Stderr = stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("building %s: %w\n%s", s.source, err, stderr)
	}
	objects := map[string][]byte{}
	for document := range strings.SplitSeq(string(out), "\n---\n") {
		var identity metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(document), &identity); err != nil {
			return nil, fmt.Errorf("reading an object of %s: %w", s.source, err)
		}
		if s.skip != nil && s.skip(identity.Kind, identity.Namespace) {
			continue
		}
		// Keys in order, whichever kustomize it was.
		var object any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return nil, err
		}
		name := strings.ToLower(identity.Kind) + "-" + identity.Name + ".yaml"
		if objects[name], err = yaml.Marshal(object); err != nil {
			return nil, err
		}
	}
	return objects, nil
}
