// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/mod/semver"

	"connectedapps.dev/operator/hack/release/program"
)

// release is what a release is made of beside its source.
type release struct {
	builder
	// registry is where the images will be, and downloads where the files.
	registry, downloads string
	kubectl             string
	// plugins are the platforms of the plugin.
	plugins []program.Platform
	notes   string
}

func distCommand(ctx context.Context, arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	version := flags.String("version", "", "version of the release, such as v0.2.0")
	root := flags.String("root", ".", "root of the repository")
	output := flags.String("output", "dist", "folder to write, with nothing else in it")
	binaries := flags.String("binaries", "bin/platforms", "folder to build programs in")
	registry := flags.String("registry", "", "where the images of the release will be")
	downloads := flags.String("downloads", "", "address of the folder where the files of the release will be")
	kubectl := flags.String("kubectl", "kubectl", "program that renders manifests")
	plugins := flags.String("plugins", "", "platforms of the plugin, such as linux/amd64,windows/arm64 (default: all)")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	r := release{registry: *registry, downloads: strings.TrimSuffix(*downloads, "/"), kubectl: *kubectl}
	if err := r.check(ctx, *root, *version); err != nil {
		return err
	}
	var err error
	if r.plugins, err = pluginPlatforms(*plugins); err != nil {
		return err
	}
	r.binaries, r.platforms = *binaries, program.ImagePlatforms
	images, err := r.images(ctx, program.Images, filepath.Join(*output, "images"))
	if err != nil {
		return err
	}
	if err := overBudget(images); err != nil {
		return err
	}
	if err := r.build(ctx, []program.Program{program.Plugin}, r.plugins); err != nil {
		return err
	}
	if err := replaceDir(*output, func(fresh string) error { return r.write(ctx, fresh, images) }); err != nil {
		return err
	}
	return errors.Join(table(out, images), listing(out, *output))
}

// pluginPlatforms are those of a list, or all.
func pluginPlatforms(list string) ([]program.Platform, error) {
	if list == "" {
		return program.PluginPlatforms, nil
	}
	var platforms []program.Platform
	for one := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(program.PluginPlatforms, func(p program.Platform) bool { return p.String() == one })
		if i < 0 {
			return nil, fmt.Errorf("PLUGINS: %q is none of the platforms of the plugin: %v", one, program.PluginPlatforms)
		}
		platforms = append(platforms, program.PluginPlatforms[i])
	}
	return platforms, nil
}

// check refuses what would not be a release.
func (r *release) check(ctx context.Context, root, version string) (err error) {
	if !semver.IsValid(version) || semver.Canonical(version) != version {
		return fmt.Errorf("VERSION=%q is no version of a release: write v0.2.0, or v0.2.0-rc.1 (https://semver.org, without build metadata)", version)
	}
	if r.source, err = readSource(ctx, root, version); err != nil {
		return err
	}
	if _, err := newPusher(r.registry, r.source.version); err != nil {
		return err
	}
	if address, err := url.Parse(r.downloads); err != nil || address.Scheme != "https" || address.Host == "" {
		return fmt.Errorf("DOWNLOADS=%q is no https URL of a folder", r.downloads)
	}
	changes, err := r.source.git(ctx, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" {
		return fmt.Errorf("a release is made of a commit, and these files are not as in it:\n%s", changes)
	}
	changelog, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	r.notes, err = notesOf(string(changelog), version)
	return err
}

// write fills an empty folder. The checksums are of all files in it; the folders
// are there for tools that read them, and their files have digests.
func (r *release) write(ctx context.Context, dir string, images []built) error {
	if err := r.writeImages(images, dir); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"packing the images", func() error {
			return packLayout(filepath.Join(dir, "images"), filepath.Join(dir, "connectedapps-images.tar"))
		}},
		{"moving the SBOMs", func() error { return flatten(filepath.Join(dir, "sbom"), dir) }},
		{"rendering the manifests", func() error { return r.writeManifests(ctx, dir, images) }},
		{"packing the chart", func() error { return r.writeChart(ctx, dir, images) }},
		{"packing the plugin", func() error { return r.writePlugin(ctx, dir) }},
		{"writing the release notes", func() error { return os.WriteFile(filepath.Join(dir, "release-notes.md"), []byte(r.notes), 0o644) }},
		{"summing up", func() error { return writeSums(dir) }},
	} {
		done := progress(step.what)
		err := step.do()
		done()
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// packLayout makes one file of a layout.
func packLayout(layout, file string) error {
	var archive []tarFile
	err := filepath.WalkDir(layout, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == layout {
			return err
		}
		name, err := filepath.Rel(layout, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			archive = append(archive, tarFile{name: name + "/", mode: 0o755})
			return nil
		}
		content, err := os.ReadFile(path)
		archive = append(archive, tarFile{name: name, mode: 0o644, content: content})
		return err
	})
	if err != nil {
		return err
	}
	content, err := archiveOf(archive...)
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}

// flatten moves the files of a folder beside it.
func flatten(from, to string) error {
	entries, err := os.ReadDir(from)
	for _, entry := range entries {
		err = errors.Join(err, os.Rename(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())))
	}
	return errors.Join(err, os.Remove(from))
}

// manifests are what people apply, by the folder that they are rendered from.
var manifests = []struct{ file, folder string }{
	{"install.yaml", "config/default"},
	{"install-injection.yaml", "config/injection"},
}

var developmentImage = regexp.MustCompile(`\bconnectedapps/([a-z]+):dev\b`)

func (r *release) writeManifests(ctx context.Context, dir string, images []built) error {
	references := map[string]string{}
	for _, image := range images {
		digest, err := image.index.Digest()
		if err != nil {
			return err
		}
		references[image.name] = fmt.Sprintf("%s/%s:%s@%s", r.registry, image.name, r.source.version, digest)
	}
	for _, m := range manifests {
		text, err := output(r.source.command(ctx, r.kubectl, "kustomize", m.folder))
		if err != nil {
			return err
		}
		if text, err = withImages(text, references); err != nil {
			return fmt.Errorf("%s: %w", m.folder, err)
		}
		header := fmt.Sprintf("# SPDX-License-Identifier: %s\n# Connected Apps %s, %s.\n#\n#   kubectl apply --server-side -f %s\n",
			licence, r.source.version, m.folder, m.file)
		if err := os.WriteFile(filepath.Join(dir, m.file), []byte(header+text+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// withImages names the images of a release in place of those of a checkout.
func withImages(manifests string, references map[string]string) (string, error) {
	var missing error
	found := false
	text := developmentImage.ReplaceAllStringFunc(manifests, func(image string) string {
		found = true
		reference, ok := references[developmentImage.FindStringSubmatch(image)[1]]
		if !ok {
			missing = errors.Join(missing, fmt.Errorf("%s is no image of a release", image))
		}
		return reference
	})
	if !found {
		missing = errors.New("it names no image connectedapps/NAME:dev, whose place that of the release takes")
	}
	return text, missing
}

const chartFolder = "charts/connectedapps"

// edits are lines of a file that a release writes; each is there once.
type edits map[string]string

func (e edits) apply(file string, content []byte) ([]byte, error) {
	lines := strings.Split(string(content), "\n")
	for before, after := range e {
		i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, before) })
		if i < 0 {
			return nil, fmt.Errorf("%s has no line %q, which a release writes", file, before)
		}
		lines[i] = after
	}
	return []byte(strings.Join(lines, "\n")), nil
}

// chartEdits give the chart the version, and the images, of the release.
func (r *release) chartEdits(images []built) (map[string]edits, error) {
	number := strings.TrimPrefix(r.source.version, "v")
	values := edits{"  prefix: ": "  prefix: " + r.registry}
	for _, image := range images {
		digest, err := image.index.Digest()
		if err != nil {
			return nil, err
		}
		values["    "+image.name+`: ""`] = "    " + image.name + ": " + digest.String()
	}
	return map[string]edits{
		"Chart.yaml":  {"version: ": "version: " + number, "appVersion: ": "appVersion: " + r.source.version},
		"values.yaml": values,
	}, nil
}

// writeChart writes what "helm package" does, without times: helm push sends it to
// a registry.
func (r *release) writeChart(ctx context.Context, dir string, images []built) error {
	number := strings.TrimPrefix(r.source.version, "v")
	changes, err := r.chartEdits(images)
	if err != nil {
		return err
	}
	// What git ignores, of an editor or another tool, is in the folder too.
	files, err := r.source.git(ctx, "ls-files", "-z", "--", chartFolder)
	if err != nil {
		return err
	}
	var archive []tarFile
	for path := range strings.SplitSeq(strings.TrimSuffix(files, "\x00"), "\x00") {
		name := strings.TrimPrefix(path, chartFolder+"/")
		content, err := os.ReadFile(filepath.Join(r.source.root, filepath.FromSlash(path)))
		if err != nil {
			return err
		}
		if change := changes[name]; change != nil {
			if content, err = change.apply(path, content); err != nil {
				return err
			}
		}
		archive = append(archive, tarFile{name: "connectedapps/" + name, mode: 0o644, content: content})
	}
	return writeTarGz(filepath.Join(dir, "connectedapps-"+number+".tgz"), archive)
}

func writeTarGz(file string, archive []tarFile) error {
	content, err := archiveOf(archive...)
	if err != nil {
		return err
	}
	if content, err = gzipped(content); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}

func gzipped(content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(content)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}

// writePlugin packs it for each platform, with its SBOM beside, and writes what
// krew installs it by.
func (r *release) writePlugin(ctx context.Context, dir string) error {
	text, err := os.ReadFile(filepath.Join(r.source.root, "LICENSE"))
	if err != nil {
		return err
	}
	var packed []krewPlatform
	for _, platform := range r.plugins {
		content, err := os.ReadFile(r.file(program.Plugin, platform))
		if err != nil {
			return err
		}
		sbom, err := r.sbom(ctx, program.Plugin, platform)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, sbomFile(program.Plugin.Name, platform)), sbom, 0o644); err != nil {
			return err
		}
		name := fmt.Sprintf("%s_%s_%s_%s", program.Plugin.Name, r.source.version, platform.OS, platform.Arch)
		parts := []tarFile{{name: "LICENSE", mode: 0o644, content: text}, {name: program.Plugin.File(platform), mode: 0o755, content: content}}
		if platform.OS == "windows" {
			name += ".zip"
			err = writeZip(filepath.Join(dir, name), parts)
		} else {
			name += ".tar.gz"
			err = writeTarGz(filepath.Join(dir, name), parts)
		}
		if err != nil {
			return err
		}
		sum, err := sumOf(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		packed = append(packed, krewPlatform{Platform: platform, uri: r.downloads + "/" + name, sum: sum})
	}
	return os.WriteFile(filepath.Join(dir, "connectedapp.yaml"), []byte(krewManifest(r.source.version, packed)), 0o644)
}

func writeZip(file string, parts []tarFile) error {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, part := range parts {
		header := &zip.FileHeader{Name: part.name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		header.SetMode(fs.FileMode(part.mode))
		entry, err := w.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := entry.Write(part.content); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// krewPlatform is an archive of the plugin.
type krewPlatform struct {
	program.Platform
	uri, sum string
}

// krewManifest is what "kubectl krew install" reads.
// https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/
func krewManifest(version string, platforms []krewPlatform) string {
	var out strings.Builder
	fmt.Fprintf(&out, `# SPDX-License-Identifier: %s
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: connectedapp
spec:
  version: %s
  homepage: %s
  shortDescription: Look after OAuth clients and their tokens
  description: |
    Shows what the Connected Apps of a namespace are up to, logs you in to them,
    hands out tokens and asks for rotations. It works with your own rights.
  platforms:
`, licence, version, homePage)
	for _, p := range platforms {
		fmt.Fprintf(&out, `  - selector:
      matchLabels:
        os: %s
        arch: %s
    uri: %s
    sha256: %s
    bin: %s
`, p.OS, p.Arch, p.uri, p.sum, program.Plugin.File(p.Platform))
	}
	return out.String()
}

const sumsFile = "SHA256SUMS"

// writeSums is for sha256sum --check.
func writeSums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		sum, err := sumOf(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s  %s\n", sum, entry.Name())
	}
	return os.WriteFile(filepath.Join(dir, sumsFile), []byte(out.String()), 0o644)
}

func sumOf(file string) (string, error) {
	content, err := os.ReadFile(file)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), err
}

// listing says what files there are now.
func listing(out io.Writer, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\nFILE\tSIZE")
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || entry.IsDir() {
			continue
		}
		_, _ = fmt.Fprintf(w, "%s\t%.1f MB\n", filepath.Join(dir, entry.Name()), float64(info.Size())/1e6)
	}
	return w.Flush()
}
