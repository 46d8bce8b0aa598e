// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Media types and files of the OCI image specification.
const (
	mediaTypeLayer    = "application/vnd.oci.image.layer.v1.tar"
	mediaTypeConfig   = "application/vnd.oci.image.config.v1+json"
	mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeIndex    = "application/vnd.oci.image.index.v1+json"

	// Under which name a runtime keeps what it imports; the second is for tools
	// that follow the specification alone.
	annotationName = "io.containerd.image.name"
	annotationRef  = "org.opencontainers.image.ref.name"

	user = "65532:65532"
)

type image struct {
	name         string
	program      string // its file, in the root directory
	content      []byte
	architecture string
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type object = map[string]any

// layout is the tar file that is written, and its first error.
type layout struct {
	tar *tar.Writer
	err error
}

// write writes the image as a layout with one layer.
func write(w io.Writer, i image) error {
	layer, err := layerOf(i)
	if err != nil {
		return err
	}
	l := &layout{tar: tar.NewWriter(w)}
	l.json("oci-layout", object{"imageLayoutVersion": "1.0.0"})
	content := l.blob(mediaTypeLayer, layer)
	config := l.jsonBlob(mediaTypeConfig, object{
		"architecture": i.architecture, "os": "linux",
		"config": object{"Entrypoint": []string{"/" + i.program}, "User": user},
		"rootfs": object{"type": "layers", "diff_ids": []string{content.Digest}},
	})
	manifest := l.jsonBlob(mediaTypeManifest, object{
		"schemaVersion": 2, "mediaType": mediaTypeManifest, "config": config, "layers": []descriptor{content},
	})
	_, tag, _ := strings.Cut(i.name[strings.LastIndexByte(i.name, '/')+1:], ":")
	manifest.Annotations = map[string]string{annotationName: i.name, annotationRef: tag}
	l.json("index.json", object{"schemaVersion": 2, "mediaType": mediaTypeIndex, "manifests": []descriptor{manifest}})
	return errors.Join(l.err, l.tar.Close())
}

// layerOf has the program, and a folder for temporary files, which no Pod of ours
// may write to unless it mounts one there.
func layerOf(i image) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err := errors.Join(
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}),
		add(w, i.program, 0o755, i.content),
		w.Close(),
	)
	return layer.Bytes(), err
}

func add(w *tar.Writer, name string, mode int64, content []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// blob adds content under its digest.
func (l *layout) blob(mediaType string, content []byte) descriptor {
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	l.err = errors.Join(l.err, add(l.tar, "blobs/sha256/"+digest, 0o644, content))
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digest, Size: len(content)}
}

func (l *layout) jsonBlob(mediaType string, o object) descriptor {
	return l.blob(mediaType, l.marshal(o))
}

func (l *layout) json(name string, o object) {
	l.err = errors.Join(l.err, add(l.tar, name, 0o644, l.marshal(o)))
}

func (l *layout) marshal(o object) []byte {
	data, err := json.Marshal(o)
	l.err = errors.Join(l.err, err)
	return data
}
