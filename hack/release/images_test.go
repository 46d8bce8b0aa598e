// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/hack/release/program"
)

func TestTheSameSourceGivesTheSameImagesInAnyFolder(t *testing.T) {
	t.Parallel()
	first, told := makeImages(t, repository(t))
	second, _ := makeImages(t, repository(t))
	require.Equal(t, files(t, first), files(t, second))
	require.Regexp(t, `(?m)^refresher +linux/arm64 +0\.\d MB +sha256:[0-9a-f]{64}$`, told)
}

func TestImagesThatDidNotChangeAreTakenAsTheyAre(t *testing.T) {
	t.Parallel()
	root := repository(t)
	dist, _ := makeImages(t, root)
	before := files(t, dist)
	images, err := readLayout(filepath.Join(dist, "images"))
	require.NoError(t, err)
	known := layersOf(filepath.Join(dist, "images"))
	require.Len(t, known.known, len(images)*len(program.ImagePlatforms), "a layer of each program is known")
	_, _ = makeImages(t, root)
	require.Equal(t, before, files(t, dist))
}

func TestAnImageHasAProgramAndAuthoritiesAndNothingElse(t *testing.T) {
	t.Parallel()
	dist, _ := makeImages(t, repository(t))
	images, err := readLayout(filepath.Join(dist, "images"))
	require.NoError(t, err)
	require.Len(t, images, len(program.Images))
	for i, image := range images {
		p := program.Images[i]
		require.Equal(t, p.Name, image.name)
		require.NoError(t, validate.Index(image.index, validate.Fast))
		for _, one := range platformsOf(t, image) {
			config, err := one.ConfigFile()
			require.NoError(t, err)
			require.Equal(t, "65532:65532", config.Config.User)
			require.Equal(t, []string{"/" + p.Name}, config.Config.Entrypoint)
			require.Equal(t, "2026-12-01T10:00:00Z", config.Created.UTC().Format("2006-01-02T15:04:05Z"))
			labels := config.Config.Labels
			require.Regexp(t, "^[0-9a-f]{40}$", labels["org.opencontainers.image.revision"])
			delete(labels, "org.opencontainers.image.revision")
			require.Equal(t, map[string]string{
				"org.opencontainers.image.title":       p.Title,
				"org.opencontainers.image.description": p.Description,
				"org.opencontainers.image.source":      "https://connectedapps.dev/operator",
				"org.opencontainers.image.version":     "v0.2.0",
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.created":     "2026-12-01T10:00:00Z",
			}, labels)
			require.ElementsMatch(t, []string{
				"etc", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt", p.Name,
			}, contents(t, one))
		}
	}
}

func TestTheAuthoritiesAreOnesThatGoReads(t *testing.T) {
	t.Parallel()
	roots := program.Roots()
	require.True(t, x509.NewCertPool().AppendCertsFromPEM(roots))
	require.Greater(t, bytes.Count(roots, []byte("BEGIN CERTIFICATE")), 100)
}

func TestEveryImageHasAnSBOMOfItsOwn(t *testing.T) {
	t.Parallel()
	dist, _ := makeImages(t, repository(t))
	images, err := readLayout(filepath.Join(dist, "images"))
	require.NoError(t, err)
	for _, image := range images {
		require.Len(t, image.referrers, len(program.ImagePlatforms))
		for i, one := range platformsOf(t, image) {
			manifest := manifestOf(t, image.referrers[i])
			digest, err := one.Digest()
			require.NoError(t, err)
			require.Equal(t, digest, manifest.Subject.Digest)
			require.Equal(t, "application/spdx+json", manifest.ArtifactType)
			file, err := os.ReadFile(filepath.Join(dist, "sbom", manifest.Annotations["org.opencontainers.image.title"]))
			require.NoError(t, err)
			require.Equal(t, file, blobOf(t, image.referrers[i]), "the one beside the images")
			document, err := spdxjson.Read(bytes.NewReader(file))
			require.NoError(t, err)
			require.NoError(t, spdxlib.ValidateDocument(document))
			names := map[string]string{}
			for _, part := range document.Packages {
				names[part.PackageName] = part.PackageVersion
			}
			require.Len(t, names, 3)
			require.Equal(t, "v0.2.0", names[program.Module+"/cmd/"+image.name])
			require.Contains(t, names, "stdlib")
			require.NotEmpty(t, names["golang.org/x/crypto/x509roots/fallback"])
		}
	}
}

func TestAnSBOMNamesModulesWithVersionsAndLicences(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	s, err := readSource(t.Context(), ".", "v0.2.0") // this module, whose test it is
	require.NoError(t, err)
	known := &licences{source: s, root: "../.."}
	text, err := sbomOf(t.Context(), s, self, "test", program.ImagePlatforms[0], known)
	require.NoError(t, err)
	document, err := spdxjson.Read(bytes.NewReader(text))
	require.NoError(t, err)
	require.NoError(t, spdxlib.ValidateDocument(document))
	declared := map[string]string{}
	for _, part := range document.Packages {
		declared[part.PackageName] = part.PackageLicenseDeclared
	}
	require.Equal(t, "Apache-2.0", declared["github.com/google/go-containerregistry"])
	require.Equal(t, "BSD-3-Clause", declared["golang.org/x/mod"])
	require.Equal(t, "BSD-3-Clause", declared["stdlib"])
}

func TestAnImageOverItsBudgetIsAnError(t *testing.T) {
	t.Parallel()
	dist, _ := makeImages(t, repository(t))
	images, err := readLayout(filepath.Join(dist, "images"))
	require.NoError(t, err)
	one := platformsOf(t, images[0])[0]
	size, err := sizeOf(one)
	require.NoError(t, err)
	image := built{program: program.Program{Name: "manager", Budget: size}, named: images[0], platforms: []builtPlatform{{Platform: program.ImagePlatforms[0], image: one}}}
	require.NoError(t, overBudget([]built{image}))
	image.program.Budget--
	require.ErrorContains(t, overBudget([]built{image}), "the image of manager for linux/amd64 has")
}

func TestAVersionIsATag(t *testing.T) {
	t.Parallel()
	_, err := releaseCommand(t, "images", "-version=v1 or so")
	require.ErrorContains(t, err, `VERSION="v1 or so" is no tag of an image`)
}

// TestDockerfilesGiveTheSameImages compares what they say with what make images does.
func TestDockerfilesGiveTheSameImages(t *testing.T) {
	t.Parallel()
	for _, p := range program.Images {
		text, err := os.ReadFile("../../cmd/" + p.Name + "/Dockerfile")
		require.NoError(t, err)
		joined := strings.ReplaceAll(string(text), "\\\n", " ")
		build, final, found := strings.Cut(joined, "\nFROM scratch\n")
		require.True(t, found)
		require.Contains(t, strings.Join(strings.Fields(build), " "),
			`RUN go -C hack/release build -o /rootfs ./rootfs && /rootfs `+p.Name+` "$TARGETOS" "$TARGETARCH" "$VERSION" /out`)
		var instructions []string
		labels := map[string]string{}
		for line := range strings.Lines(final) {
			line = strings.TrimSpace(line)
			if label, isLabel := strings.CutPrefix(line, "LABEL "); isLabel {
				for _, pair := range regexp.MustCompile(`(\S+?)="([^"]*)"`).FindAllStringSubmatch(label, -1) {
					labels[pair[1]] = pair[2]
				}
			} else if line != "" && !strings.HasPrefix(line, "#") {
				instructions = append(instructions, line)
			}
		}
		require.Equal(t, []string{
			"ARG VERSION=dev REVISION= CREATED=", "COPY --from=build /out/ /", "USER " + program.User, `ENTRYPOINT ["/` + p.Name + `"]`,
		}, instructions)
		want := source{version: "$VERSION", revision: "$REVISION"}.labels(p.Title, p.Description)
		want["org.opencontainers.image.created"] = "$CREATED"
		require.Equal(t, want, labels)
	}
}

// TestRootfsHasTheFilesOfTheImage looks at what the Dockerfiles take.
func TestRootfsHasTheFilesOfTheImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, program.WriteRootfs(dir))
	require.Equal(t, map[string]string{program.Authorities: string(program.Roots())}, files(t, dir))
}

// files are those of a folder, by their names.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		found[name] = string(content)
		return err
	}))
	return found
}

func platformsOf(t *testing.T, image named) []v1.Image {
	t.Helper()
	index, err := image.index.IndexManifest()
	require.NoError(t, err)
	images := make([]v1.Image, 0, len(index.Manifests))
	require.Len(t, index.Manifests, len(program.ImagePlatforms))
	for i, d := range index.Manifests {
		require.Equal(t, program.ImagePlatforms[i].String(), d.Platform.String())
		one, err := image.index.Image(d.Digest)
		require.NoError(t, err)
		images = append(images, one)
	}
	return images
}

// contents are the names in an image.
func contents(t *testing.T, image v1.Image) []string {
	t.Helper()
	layers := mutate.Extract(image)
	defer layers.Close()
	archive := tar.NewReader(layers)
	var names []string
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(t, err)
		names = append(names, header.Name)
	}
}

func manifestOf(t *testing.T, image v1.Image) v1ArtifactManifest {
	t.Helper()
	raw, err := image.RawManifest()
	require.NoError(t, err)
	var manifest v1ArtifactManifest
	require.NoError(t, json.Unmarshal(raw, &manifest))
	return manifest
}

func blobOf(t *testing.T, image v1.Image) []byte {
	t.Helper()
	layers, err := image.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 1)
	content, err := layers[0].Compressed()
	require.NoError(t, err)
	defer content.Close()
	text, err := io.ReadAll(content)
	require.NoError(t, err)
	return text
}
