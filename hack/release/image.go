// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"connectedapps.dev/operator/hack/release/program"
)

const (
	annotationRef = "org.opencontainers.image.ref.name"
	// mediaTypeEmpty is the configuration of what is no image.
	mediaTypeEmpty = "application/vnd.oci.empty.v1+json"
)

// layers compresses them, or has them from images that were built before.
type layers struct{ known map[v1.Hash]v1.Layer }

// ofProgram has one program, executable, in the root directory.
func (l *layers) ofProgram(name string, content []byte) (v1.Layer, error) {
	archive, err := archiveOf(tarFile{name: name, mode: 0o755, content: content})
	if err != nil {
		return nil, err
	}
	diffID, _, err := v1.SHA256(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	if known := l.known[diffID]; known != nil {
		return known, nil
	}
	return compressed(archive)
}

// ofRoots has the authorities to trust; it is the same in all images.
func ofRoots() (v1.Layer, error) {
	var files []tarFile
	for _, folder := range program.Folders(program.Authorities) {
		files = append(files, tarFile{name: folder, mode: 0o755})
	}
	archive, err := archiveOf(append(files, tarFile{name: program.Authorities, mode: 0o644, content: program.Roots()})...)
	if err != nil {
		return nil, err
	}
	return compressed(archive)
}

// compressed is a layer by zstd, which every runtime of the Kubernetes versions that
// we support unpacks: a tenth less to download than by gzip. One thread, for what
// several write depends on how many there are.
func compressed(archive []byte) (v1.Layer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer encoder.Close()
	return layerOf(encoder.EncodeAll(archive, nil))
}

// layerOf has a compressed archive.
func layerOf(content []byte) (v1.Layer, error) {
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayerZStd))
}

// tarFile is a folder when its name ends with a slash.
type tarFile struct {
	name    string
	mode    int64
	content []byte
}

// archiveOf has no times and no names of users: what goes in alone decides what comes out.
func archiveOf(files ...tarFile) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if f.name[len(f.name)-1] == '/' {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// imageOf runs a program that is in the root directory.
func imageOf(name string, platform program.Platform, created time.Time, labels map[string]string, parts ...v1.Layer) (v1.Image, error) {
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Arch, Created: v1.Time{Time: created},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{Entrypoint: []string{"/" + name}, User: program.User, Labels: labels},
	})
	if err != nil {
		return nil, err
	}
	adds := make([]mutate.Addendum, 0, len(parts))
	for _, part := range parts {
		history := v1.History{Created: v1.Time{Time: created}, CreatedBy: "make images"}
		adds = append(adds, mutate.Addendum{Layer: part, MediaType: types.OCILayerZStd, History: history})
	}
	image, err = mutate.Append(image, adds...)
	if err != nil || len(labels) == 0 {
		return image, err
	}
	return mutate.Annotations(image, labels).(v1.Image), nil
}

// indexOf names the image of each platform.
func indexOf(images []v1.Image, platforms []program.Platform, labels map[string]string) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, image := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: platforms[i].OS, Architecture: platforms[i].Arch}},
		})
	}
	if len(labels) == 0 {
		return index
	}
	return mutate.Annotations(index, labels).(v1.ImageIndex)
}

// artifact is a file that belongs to an image, which registries list as its
// referrer.
// https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
type artifact struct {
	manifest []byte
	blobs    map[v1.Hash]blob
}

type blob struct {
	content   []byte
	digest    v1.Hash
	mediaType types.MediaType
}

// referrerTo is a file of a type as artifact about an image.
func referrerTo(subject v1.Image, content []byte, mediaType string, annotations map[string]string) (v1.Image, error) {
	about, err := partial.Descriptor(subject)
	if err != nil {
		return nil, err
	}
	a := &artifact{blobs: map[v1.Hash]blob{}}
	config, layer := a.add([]byte("{}"), mediaTypeEmpty), a.add(content, types.MediaType(mediaType))
	a.manifest, err = json.Marshal(v1ArtifactManifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: mediaType, Config: config, Layers: []v1.Descriptor{layer},
		Subject:     &v1.Descriptor{MediaType: about.MediaType, Digest: about.Digest, Size: about.Size},
		Annotations: annotations,
	})
	if err != nil {
		return nil, err
	}
	return partial.CompressedToImage(a)
}

// v1ArtifactManifest is a manifest with the type of an artifact.
type v1ArtifactManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        v1.Descriptor     `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Subject       *v1.Descriptor    `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

func (a *artifact) add(content []byte, mediaType types.MediaType) v1.Descriptor {
	digest, size, _ := v1.SHA256(bytes.NewReader(content)) // reads memory
	a.blobs[digest] = blob{content, digest, mediaType}
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}

func (a *artifact) RawConfigFile() ([]byte, error)      { return []byte("{}"), nil }
func (a *artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (a *artifact) RawManifest() ([]byte, error)        { return a.manifest, nil }
func (b blob) Digest() (v1.Hash, error)                 { return b.digest, nil }
func (b blob) Size() (int64, error)                     { return int64(len(b.content)), nil }
func (b blob) MediaType() (types.MediaType, error)      { return b.mediaType, nil }
func (b blob) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b.content)), nil
}
func (a *artifact) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	b, ok := a.blobs[h]
	if !ok {
		return nil, os.ErrNotExist
	}
	return b, nil
}
