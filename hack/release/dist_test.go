// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/hack/release/program"
)

const (
	fixtureRegistry  = "registry.example.com/apps"
	fixtureDownloads = "https://example.com/v0.2.0"
)

// releasable is a repository that has manifests and a chart as well.
func releasable(t *testing.T) string {
	t.Helper()
	dir := repository(t)
	for name, text := range map[string]string{
		"config/default/kustomization.yaml":     "resources: [pods.yaml]\nimages:\n- {name: connectedapps/manager, newTag: dev}\n- {name: connectedapps/tokenserver, newTag: dev}\n",
		"config/default/pods.yaml":              pod("manager") + "---\n" + pod("tokenserver"),
		"config/injection/kustomization.yaml":   "resources: [parameters.yaml]\n",
		"config/injection/parameters.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: injection}\ndata: {image: \"connectedapps/refresher:dev\"}\n",
		"charts/connectedapps/Chart.yaml":       "apiVersion: v2\nname: connectedapps\nversion: 0.0.0-dev\nappVersion: dev\n",
		"charts/connectedapps/values.yaml":      "image:\n  prefix: connectedapps\n  digests:\n    # Of it.\n    manager: \"\"\n    tokenserver: \"\"\n    refresher: \"\"\n",
		"charts/connectedapps/templates/a.yaml": "{{ .Values.image.prefix }}\n",
	} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	commit(t, dir)
	return dir
}

func pod(name string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: {containers: [{name: a, image: connectedapps/" + name + "}]}\n"
}

func makeRelease(t *testing.T, root string, more ...string) (dist string, err error) {
	t.Helper()
	kubectl := os.Getenv("KUBECTL")
	if kubectl == "" {
		kubectl = "kubectl"
	}
	dist = filepath.Join(root, "dist")
	_, err = releaseCommand(t, append([]string{"dist", "-version=v0.2.0", "-root=" + root, "-binaries=" + filepath.Join(root, "bin"), "-output=" + dist,
		"-registry=" + fixtureRegistry, "-downloads=" + fixtureDownloads, "-kubectl=" + kubectl}, more...)...)
	return dist, err
}

func TestAReleaseThatIsMadeAgainIsTheSame(t *testing.T) {
	t.Parallel()
	root := releasable(t)
	first, err := makeRelease(t, root)
	require.NoError(t, err)
	before := files(t, first)

	require.NoError(t, os.WriteFile(filepath.Join(first, "left-over"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(root, ".git/info/exclude"), []byte("*.swp\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(root, chartFolder, "values.yaml.swp"), []byte("of an editor"), 0o644))
	_, err = makeRelease(t, root)
	require.NoError(t, err)
	require.Equal(t, before, files(t, first), "in the same folder, where something was left")

	second, err := makeRelease(t, releasable(t))
	require.NoError(t, err)
	require.Equal(t, before, files(t, second), "in another folder")
}

func TestAReleaseHasAllThatPeopleInstall(t *testing.T) {
	t.Parallel()
	dist, err := makeRelease(t, releasable(t))
	require.NoError(t, err)
	var names []string
	entries, err := os.ReadDir(dist)
	require.NoError(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	want := []string{"SHA256SUMS", "connectedapp.yaml", "connectedapps-0.2.0.tgz", "connectedapps-images.tar", "images", "install-injection.yaml", "install.yaml", "release-notes.md"}
	for _, p := range program.Images {
		for _, platform := range program.ImagePlatforms {
			want = append(want, sbomFile(p.Name, platform))
		}
	}
	for _, platform := range program.PluginPlatforms {
		want = append(want, sbomFile(program.Plugin.Name, platform))
		ending := ".tar.gz"
		if platform.OS == "windows" {
			ending = ".zip"
		}
		want = append(want, "kubectl-connectedapp_v0.2.0_"+platform.OS+"_"+platform.Arch+ending)
	}
	slices.Sort(want)
	require.Equal(t, want, names)

	t.Run("the checksums are right", func(t *testing.T) {
		t.Parallel()
		check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
		check.Dir = dist
		out, err := check.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, len(want)-2, strings.Count(string(out), ": OK"), "all files but themselves, and no folder")
	})
	t.Run("manifests name the images by digest", func(t *testing.T) {
		t.Parallel()
		images, err := readLayout(filepath.Join(dist, "images"))
		require.NoError(t, err)
		for _, image := range images {
			digest, err := image.index.Digest()
			require.NoError(t, err)
			file := "install.yaml"
			if image.name == "refresher" {
				file = "install-injection.yaml"
			}
			text, err := os.ReadFile(filepath.Join(dist, file))
			require.NoError(t, err)
			require.Contains(t, string(text), "image: "+fixtureRegistry+"/"+image.name+":v0.2.0@"+digest.String()+"\n")
		}
	})
	t.Run("the chart has the version and the images", func(t *testing.T) {
		t.Parallel()
		chart := untarred(t, filepath.Join(dist, "connectedapps-0.2.0.tgz"))
		require.Len(t, chart, 3)
		require.Contains(t, chart["connectedapps/Chart.yaml"], "\nversion: 0.2.0\nappVersion: v0.2.0\n")
		require.Regexp(t, `(?s)  prefix: registry.example.com/apps\n.*    manager: sha256:[0-9a-f]{64}\n    tokenserver: sha256:[0-9a-f]{64}\n    refresher: sha256:`, chart["connectedapps/values.yaml"])
	})
	t.Run("krew finds each archive and its program", func(t *testing.T) {
		t.Parallel()
		text, err := os.ReadFile(filepath.Join(dist, "connectedapp.yaml"))
		require.NoError(t, err)
		var plugin struct {
			Metadata struct{ Name string }
			Spec     struct {
				Version   string
				Platforms []struct {
					URI, SHA256, Bin string
				}
			}
		}
		require.NoError(t, yaml.Unmarshal(text, &plugin))
		require.Equal(t, "connectedapp", plugin.Metadata.Name)
		require.Equal(t, "v0.2.0", plugin.Spec.Version)
		require.Len(t, plugin.Spec.Platforms, len(program.PluginPlatforms))
		for _, platform := range plugin.Spec.Platforms {
			name, found := strings.CutPrefix(platform.URI, fixtureDownloads+"/")
			require.True(t, found)
			sum, err := sumOf(filepath.Join(dist, name))
			require.NoError(t, err)
			require.Equal(t, sum, platform.SHA256)
			var parts map[string]string
			if strings.HasSuffix(name, ".zip") {
				parts = unzipped(t, filepath.Join(dist, name))
			} else {
				parts = untarred(t, filepath.Join(dist, name))
			}
			require.Len(t, parts, 2)
			require.NotEmpty(t, parts[platform.Bin])
			require.NotEmpty(t, parts["LICENSE"])
		}
	})
	t.Run("the archive of images is the layout", func(t *testing.T) {
		t.Parallel()
		content, err := os.ReadFile(filepath.Join(dist, "connectedapps-images.tar"))
		require.NoError(t, err)
		require.Equal(t, files(t, filepath.Join(dist, "images")), entriesOf(t, bytes.NewReader(content)))
	})
	t.Run("the notes are those of the changelog", func(t *testing.T) {
		t.Parallel()
		notes, err := os.ReadFile(filepath.Join(dist, "release-notes.md"))
		require.NoError(t, err)
		require.Equal(t, "### Added\n\n- The sidecar says *when*.\n", string(notes))
	})
}

func TestWhatIsNoReleaseIsRefused(t *testing.T) {
	t.Parallel()
	root := releasable(t)
	for problem, row := range map[string]struct{ flag, want string }{
		"a version without v":        {"-version=0.2.0", `VERSION="0.2.0" is no version of a release`},
		"a short version":            {"-version=v0.2", "is no version of a release"},
		"a version of a checkout":    {"-version=cf854b1-dirty", "is no version of a release"},
		"build metadata":             {"-version=v0.2.0+1", "without build metadata"},
		"nothing in the changelog":   {"-version=v0.3.0", "CHANGELOG.md has no section of 0.3.0"},
		"files over plain http":      {"-downloads=http://example.com", `DOWNLOADS="http://example.com" is no https URL`},
		"a registry that is not one": {"-registry=apps", "REGISTRY=apps"},
		"a platform without plugin":  {"-plugins=linux/amd64,plan9/amd64", `PLUGINS: "plan9/amd64" is none of the platforms of the plugin: [darwin/amd64 `},
	} {
		t.Run(problem, func(t *testing.T) {
			_, err := makeRelease(t, root, row.flag)
			require.ErrorContains(t, err, row.want)
		})
	}
	t.Run("a file that is not committed", func(t *testing.T) {
		require.NoError(t, os.WriteFile(filepath.Join(root, "new.go"), nil, 0o644))
		_, err := makeRelease(t, root)
		require.ErrorContains(t, err, "a release is made of a commit, and these files are not as in it:\n?? new.go")
	})
	require.NoDirExists(t, filepath.Join(root, "dist"))
}

func TestThePluginIsForThePlatformsThatSomebodyWants(t *testing.T) {
	t.Parallel()
	dist, err := makeRelease(t, releasable(t), "-plugins=linux/arm64,windows/amd64")
	require.NoError(t, err)
	found, err := filepath.Glob(filepath.Join(dist, "kubectl-connectedapp_v0.2.0_*"))
	require.NoError(t, err)
	require.Equal(t, []string{"kubectl-connectedapp_v0.2.0_linux_arm64.tar.gz", "kubectl-connectedapp_v0.2.0_windows_amd64.zip"},
		[]string{filepath.Base(found[0]), filepath.Base(found[1])})
	require.Len(t, found, 2)
}

func TestManifestsThatNameNoImageOfOursAreAnError(t *testing.T) {
	t.Parallel()
	_, err := withImages("image: busybox:1.37\n", nil)
	require.ErrorContains(t, err, "it names no image connectedapps/NAME:dev")
	_, err = withImages("image: connectedapps/other:dev\n", nil)
	require.ErrorContains(t, err, "connectedapps/other:dev is no image of a release")
}

func untarred(t *testing.T, file string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	archive, err := gzip.NewReader(bytes.NewReader(content))
	require.NoError(t, err)
	return entriesOf(t, archive)
}

// entriesOf are the files of an archive, none of which tells when it was made.
func entriesOf(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	archive := tar.NewReader(r)
	found := map[string]string{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		require.Zero(t, header.ModTime.Unix())
		if header.Typeflag == tar.TypeDir {
			continue
		}
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		found[header.Name] = string(content)
	}
}

func unzipped(t *testing.T, file string) map[string]string {
	t.Helper()
	archive, err := zip.OpenReader(file)
	require.NoError(t, err)
	defer archive.Close()
	found := map[string]string{}
	for _, part := range archive.File {
		r, err := part.Open()
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		found[part.Name] = string(content)
	}
	return found
}
