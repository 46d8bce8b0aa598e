// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// named is an image of a layout with all its platforms, and what refers to them.
type named struct {
	name      string
	index     v1.ImageIndex
	referrers []v1.Image
}

// writeLayout replaces a layout as a whole.
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
func writeLayout(dir string, images []named) error {
	return replaceDir(dir, func(fresh string) error {
		l, err := layout.Write(fresh, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
		if err != nil {
			return err
		}
		for _, image := range images {
			err = errors.Join(err, l.AppendIndex(image.index, layout.WithAnnotations(map[string]string{annotationRef: image.name})))
		}
		for _, image := range images {
			for _, referrer := range image.referrers {
				err = errors.Join(err, l.AppendImage(referrer))
			}
		}
		return err
	})
}

// readLayout gives the images of a layout.
func readLayout(dir string) ([]named, error) {
	l, err := layout.FromPath(dir)
	if err != nil {
		return nil, err
	}
	root, err := l.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []named
	referrers := map[v1.Hash][]v1.Image{} // by their subject
	for _, d := range manifest.Manifests {
		if d.MediaType.IsIndex() {
			index, err := root.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			images = append(images, named{name: d.Annotations[annotationRef], index: index})
			continue
		}
		image, err := root.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		about, err := image.Manifest()
		if err != nil {
			return nil, err
		}
		if about.Subject != nil {
			referrers[about.Subject.Digest] = append(referrers[about.Subject.Digest], image)
		}
	}
	for i := range images {
		index, err := images[i].index.IndexManifest()
		if err != nil {
			return nil, err
		}
		for _, d := range index.Manifests {
			images[i].referrers = append(images[i].referrers, referrers[d.Digest]...)
		}
	}
	return images, nil
}

// layersOf are those of the images in a layout, if there is one, so that what did
// not change need not be compressed again.
func layersOf(dir string) *layers {
	l := &layers{known: map[v1.Hash]v1.Layer{}}
	images, err := readLayout(dir)
	if err != nil {
		return l
	}
	for _, image := range images {
		manifest, err := image.index.IndexManifest()
		if err != nil {
			continue
		}
		for _, d := range manifest.Manifests {
			if platform, err := image.index.Image(d.Digest); err == nil {
				l.learn(platform)
			}
		}
	}
	return l
}

// learn reads a layer into memory, for the layout is about to be replaced.
func (l *layers) learn(image v1.Image) {
	parts, err := image.Layers()
	if err != nil || len(parts) == 0 {
		return
	}
	last := parts[len(parts)-1] // the program
	diffID, err := last.DiffID()
	if err != nil {
		return
	}
	if kept, err := inMemory(last); err == nil {
		l.known[diffID] = kept
	}
}

// inMemory is a layer whose file may go.
func inMemory(layer v1.Layer) (v1.Layer, error) {
	file, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	return layerOf(content)
}

// replaceDir makes a folder anew: until it is whole, the one before stays.
func replaceDir(dir string, write func(fresh string) error) (err error) {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	if err := write(fresh); err != nil {
		return err
	}
	if err := errors.Join(readable(fresh), os.RemoveAll(dir)); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

// readable makes modes independent of the umask.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return os.Chmod(path, 0o755)
		default:
			return os.Chmod(path, 0o644)
		}
	})
}
