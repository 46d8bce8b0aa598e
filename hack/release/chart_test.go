// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/hack/release/program"
)

// TestHelmReadsTheChartOfARelease as it reads the folder that it is made of, but for
// the version and the images.
func TestHelmReadsTheChartOfARelease(t *testing.T) {
	t.Parallel()
	var images []built
	for _, p := range program.Images {
		images = append(images, built{program: p, named: named{name: p.Name, index: empty.Index}})
	}
	digest, err := empty.Index.Digest()
	require.NoError(t, err)
	r := release{builder: builder{source: source{root: "../..", version: "v0.2.0"}}, registry: fixtureRegistry}
	dir := t.TempDir()
	require.NoError(t, r.writeChart(t.Context(), dir, images))
	values := filepath.Join(dir, "values.yaml")
	require.NoError(t, os.WriteFile(values, []byte("injection: {enabled: true}\ntokenserver: {replicas: 2, database: {type: postgresql}}\n"), 0o600))

	for _, helm := range []string{"helm3", "helm4"} {
		t.Run(helm, func(t *testing.T) {
			template := func(chart string) string {
				path, err := filepath.Abs("../../bin/helm/" + helm)
				require.NoError(t, err)
				require.FileExists(t, path, "make helm builds it")
				command := exec.CommandContext(t.Context(), path, "template", "connectedapps", chart, "--namespace=identity", "--values="+values)
				command.Env = append(os.Environ(), "HELM_CACHE_HOME="+dir, "HELM_CONFIG_HOME="+dir, "HELM_DATA_HOME="+dir)
				out, err := output(command)
				require.NoError(t, err)
				return out
			}
			want := template("../../" + chartFolder)
			for before, after := range map[string]string{
				"helm.sh/chart: connectedapps-0.0.0-dev\n": "helm.sh/chart: connectedapps-0.2.0\n",
				"app.kubernetes.io/version: dev\n":         "app.kubernetes.io/version: v0.2.0\n",
				": connectedapps/manager:dev\n":            ": " + fixtureRegistry + "/manager@" + digest.String() + "\n",
				": connectedapps/tokenserver:dev\n":        ": " + fixtureRegistry + "/tokenserver@" + digest.String() + "\n",
				": connectedapps/refresher:dev\n":          ": " + fixtureRegistry + "/refresher@" + digest.String() + "\n",
			} {
				require.Contains(t, want, before)
				want = strings.ReplaceAll(want, before, after)
			}
			require.Equal(t, want, template(filepath.Join(dir, "connectedapps-0.2.0.tgz")))
		})
	}
}
