// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
)

// update has the fixtures of the health check written from what controllers made:
//
//	go test ./test/gitops -run 'TestEveryStepOfALifeIsSeenAsItIs/server' -args -update
var update = flag.Bool("update", false, "write the fixtures of config/argocd")

// record compares the fixtures of a step with what the controllers made of it.
func (l *life) record(s step) {
	l.Helper()
	if !slices.Contains(l.flags, "--server-side") {
		return // the other life has the annotation of kubectl
	}
	for _, name := range s.fixtures {
		kind, _, _ := strings.Cut(name, "_")
		object := l.objects()[slices.Index([]string{"tokenserver", "connectedapp", "accesstoken"}, kind)]
		path := filepath.Join(checks, "testdata", name+".yaml")
		if *update {
			text := l.anonymous(unstructuredOf(l, l.live(object)))
			require.NoError(l, os.WriteFile(path, []byte(text), 0o600))
			l.recordTest(path, text)
		}
		fixture, _ := object.DeepCopyObject().(status.Object)
		require.NoError(l, yaml.UnmarshalStrict([]byte(read(l, path)), fixture))
		testenv.Eventually(l, func(c *require.Assertions) {
			c.Equal(outline(fixture), outline(l.live(object)), "%s is not what the controllers make: see the flag update", name)
		})
	}
}

// outline is what of a status is the same each time, whatever its words.
func outline(o status.Object) []string {
	list := []string{
		fmt.Sprintf("generation %d, observed %d", o.GetGeneration(), *o.GetObservedGeneration()),
		fmt.Sprintf("deleted %t", o.GetDeletionTimestamp() != nil),
	}
	for _, c := range *o.GetConditions() {
		list = append(list, fmt.Sprintf("%s %s %s, observed %d", c.Type, c.Status, c.Reason, c.ObservedGeneration))
	}
	return list
}

// recordTest puts a fixture into health_test.yaml.
func (l *life) recordTest(path, text string) {
	l.Helper()
	var object map[string]any
	require.NoError(l, yaml.Unmarshal([]byte(text), &object))
	test := healthTest{InputPath: filepath.Join("testdata", filepath.Base(path)), HealthStatus: argoHealth(l, object)}
	file := filepath.Join(checks, "health_test.yaml")
	var list healthTests
	if old, err := os.ReadFile(file); err == nil {
		require.NoError(l, yaml.Unmarshal(old, &list))
	}
	list.Tests = slices.DeleteFunc(list.Tests, func(t healthTest) bool { return t.InputPath == test.InputPath })
	list.Tests = append(list.Tests, test)
	slices.SortFunc(list.Tests, func(a, b healthTest) int { return strings.Compare(a.InputPath, b.InputPath) })
	data, err := yaml.Marshal(list)
	require.NoError(l, err)
	require.NoError(l, os.WriteFile(file, append([]byte(licence), data...), 0o600))
}

const licence = "# SPDX-License-Identifier: Apache-2.0\n"

var (
	ids    = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,}`)
	times  = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	server = regexp.MustCompile(`TokenServer (test-\w+)`)
)

// anonymous is an object as a file that is the same each time: without what a
// control plane, a clock and chance put into it.
func (l *life) anonymous(object map[string]any) string {
	l.Helper()
	metadata, _ := object["metadata"].(map[string]any)
	for _, name := range []string{"managedFields", "resourceVersion"} {
		delete(metadata, name)
	}
	if object["kind"] == "TokenServer" {
		metadata["name"] = "default"
	}
	for _, name := range []string{"compared", "referencedSecretVersion"} { // digests and versions
		delete(object["status"].(map[string]any), name)
	}
	if spec, _ := object["spec"].(map[string]any); spec["tokenServerRef"] != nil {
		spec["tokenServerRef"] = map[string]any{"name": "default"}
	}
	data, err := yaml.Marshal(object)
	require.NoError(l, err)
	text := server.ReplaceAllString(string(data), "TokenServer default")
	text = strings.NewReplacer(l.namespace, "payments", strings.TrimPrefix(l.instance.URL, "http://"), "tokens.example.com", "http://", "https://").Replace(text)
	text = ids.ReplaceAllString(text, "00000000-0000-4000-8000-000000000000")
	return licence + times.ReplaceAllString(text, "2026-11-27T12:00:00Z")
}
