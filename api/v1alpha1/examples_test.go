// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
)

// block is a fenced example of a page, which may be indented.
var block = regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```$")

// examples are the objects of our kinds in the samples and, whole, in the pages.
func examples(t *testing.T) map[string][]*unstructured.Unstructured {
	t.Helper()
	found := map[string][]*unstructured.Unstructured{}
	add := func(file, text string) {
		for _, document := range strings.Split(text, "\n---\n") {
			o := &unstructured.Unstructured{}
			require.NoError(t, yaml.Unmarshal([]byte(document), &o.Object), "%s: %s", file, document)
			if strings.HasPrefix(o.GetAPIVersion(), "connectedapps.dev/") && o.GetKind() != "" {
				found[file] = append(found[file], o)
			}
		}
	}
	for _, pattern := range []string{"config/samples/*.yaml", "docs/spec/v1alpha1/*.md", "README.md"} {
		files, err := filepath.Glob(filepath.Join(testenv.ModuleRoot(), pattern))
		require.NoError(t, err)
		for _, path := range files {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			file := filepath.Base(path)
			if filepath.Ext(path) == ".yaml" {
				add(file, string(data))
				continue
			}
			for _, match := range block.FindAllStringSubmatch(string(data), -1) {
				add(file, strings.ReplaceAll("\n"+match[2], "\n"+match[1], "\n"))
			}
		}
	}
	return found
}

// What readers copy is what the API server takes.
func TestSamplesAndPagesAreAccepted(t *testing.T) {
	all := examples(t)
	for _, file := range []string{"connectedapps_v1alpha1_connectedapp.yaml", "connectedapps.md", "tokenservers.md", "accesstokens.md", "README.md"} {
		require.NotEmpty(t, all[file], "no example was found in %s", file)
	}
	for file, objects := range all {
		for _, o := range objects {
			if o.GetKind() != "TokenServer" {
				o.SetNamespace("default")
			}
			require.NoError(t, create(t, o), "%s: %s %s", file, o.GetKind(), o.GetName())
		}
	}
}
