// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"text/tabwriter"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"connectedapps.dev/operator/hack/release/program"
)

func imagesCommand(ctx context.Context, arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	version := flags.String("version", "dev", "version of the programs")
	root := flags.String("root", ".", "root of the repository")
	output := flags.String("output", "dist", "folder to write images/ and sbom/ to")
	binaries := flags.String("binaries", "bin/platforms", "folder to build programs in")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	s, err := readSource(ctx, *root, *version)
	if err != nil {
		return err
	}
	b := builder{source: s, binaries: *binaries, platforms: program.ImagePlatforms}
	images, err := b.images(ctx, program.Images, filepath.Join(*output, "images"))
	if err != nil {
		return err
	}
	if err := b.writeImages(images, *output); err != nil {
		return err
	}
	if err := table(out, images); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%s is an OCI layout of them; %s has their SBOMs\n", filepath.Join(*output, "images"), filepath.Join(*output, "sbom"))
	return overBudget(images)
}

// builder makes programs and images of one source.
type builder struct {
	source    source
	binaries  string
	platforms []program.Platform
	licences  *licences
}

// built is the image of one program.
type built struct {
	program program.Program
	named
	platforms []builtPlatform
}

type builtPlatform struct {
	program.Platform
	image v1.Image
	sbom  []byte
}

// images builds them; what is unchanged in a layout of before is taken from there.
func (b *builder) images(ctx context.Context, programs []program.Program, before string) ([]built, error) {
	if err := b.build(ctx, programs, b.platforms); err != nil {
		return nil, err
	}
	known := layersOf(before)
	roots, err := ofRoots()
	if err != nil {
		return nil, err
	}
	images := make([]built, 0, len(programs))
	for _, p := range programs {
		image, err := b.image(ctx, p, known, roots)
		if err != nil {
			return nil, fmt.Errorf("the image of %s: %w", p.Name, err)
		}
		images = append(images, image)
	}
	return images, nil
}

func (b *builder) image(ctx context.Context, p program.Program, known *layers, roots v1.Layer) (built, error) {
	result := built{program: p, named: named{name: p.Name}}
	labels := b.source.labels(p.Title, p.Description)
	var images []v1.Image
	for _, platform := range b.platforms {
		done := progress("packing " + p.Name + " for " + platform.String())
		one, err := b.platformImage(ctx, p, platform, labels, known, roots)
		done()
		if err != nil {
			return result, fmt.Errorf("%s: %w", platform, err)
		}
		referrer, err := referrerTo(one.image, one.sbom, mediaTypeSBOM, map[string]string{
			"org.opencontainers.image.title": sbomFile(p.Name, platform), "org.opencontainers.image.created": labels["org.opencontainers.image.created"],
		})
		if err != nil {
			return result, err
		}
		images = append(images, one.image)
		result.platforms = append(result.platforms, one)
		result.referrers = append(result.referrers, referrer)
	}
	result.index = indexOf(images, b.platforms, labels)
	return result, nil
}

func (b *builder) platformImage(
	ctx context.Context, p program.Program, platform program.Platform, labels map[string]string, known *layers, roots v1.Layer,
) (builtPlatform, error) {
	result := builtPlatform{Platform: platform}
	file := b.file(p, platform)
	content, err := os.ReadFile(file)
	if err != nil {
		return result, err
	}
	layer, err := known.ofProgram(p.Name, content)
	if err != nil {
		return result, err
	}
	if result.image, err = imageOf(p.Name, platform, b.source.created, labels, roots, layer); err != nil {
		return result, err
	}
	rootsPart, err := rootsPackage()
	if err != nil {
		return result, err
	}
	result.sbom, err = b.sbom(ctx, p, platform, rootsPart)
	return result, err
}

func (b *builder) sbom(ctx context.Context, p program.Program, platform program.Platform, others ...sbomPackage) ([]byte, error) {
	if b.licences == nil {
		b.licences = &licences{source: b.source, root: b.source.root}
	}
	return sbomOf(ctx, b.source, b.file(p, platform), p.Name, platform, b.licences, others...)
}

func sbomFile(name string, platform program.Platform) string {
	return fmt.Sprintf("%s_%s_%s.spdx.json", name, platform.OS, platform.Arch)
}

func (b *builder) file(p program.Program, platform program.Platform) string {
	return filepath.Join(b.binaries, platform.OS+"_"+platform.Arch, p.File(platform))
}

// build has hack/build.sh tell how far it is.
func (b *builder) build(ctx context.Context, programs []program.Program, platforms []program.Platform) error {
	script, err := filepath.Abs(filepath.Join(b.source.root, "hack/build.sh"))
	if err != nil {
		return err
	}
	for _, platform := range platforms {
		for _, p := range programs {
			output, err := filepath.Abs(b.file(p, platform))
			if err != nil {
				return err
			}
			arguments := append([]string{p.Name + " for " + platform.String(), "."}, p.BuildFlags(b.source.version)...)
			command := b.source.command(ctx, script, append(arguments, "-o", output, p.Package())...)
			command.Env = append(program.Environment(platform), "GOGC=400")
			command.Stderr = os.Stderr
			command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
			if err := command.Run(); err != nil {
				return fmt.Errorf("building %s for %s: %w", p.Name, platform, err)
			}
		}
	}
	return nil
}

// writeImages writes the layout, and the SBOMs beside it.
func (b *builder) writeImages(images []built, output string) error {
	all := make([]named, 0, len(images))
	for _, image := range images {
		all = append(all, image.named)
	}
	done := progress("writing " + filepath.Join(output, "images"))
	defer done()
	return errors.Join(
		writeLayout(filepath.Join(output, "images"), all),
		replaceDir(filepath.Join(output, "sbom"), func(fresh string) (err error) {
			for _, image := range images {
				for _, platform := range image.platforms {
					err = errors.Join(err, os.WriteFile(filepath.Join(fresh, sbomFile(image.name, platform.Platform)), platform.sbom, 0o644))
				}
			}
			return err
		}),
	)
}

// table says what there is now; sizes are what a node downloads.
func table(out io.Writer, images []built) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "IMAGE\tPLATFORM\tSIZE\tDIGEST")
	for _, image := range images {
		digest, err := image.index.Digest()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(w, "%s\tall\t\t%s\n", image.name, digest)
		for _, platform := range image.platforms {
			size, err := sizeOf(platform.image)
			if err != nil {
				return err
			}
			digest, err := platform.image.Digest()
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%.1f MB\t%s\n", image.name, platform, float64(size)/1e6, digest)
		}
	}
	return w.Flush()
}

// sizeOf is what a node downloads.
func sizeOf(image v1.Image) (int64, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return 0, err
	}
	size := manifest.Config.Size
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	return size, nil
}

// overBudget is an error about every image that has become too big.
func overBudget(images []built) (problems error) {
	for _, image := range images {
		for _, platform := range image.platforms {
			size, err := sizeOf(platform.image)
			if err != nil {
				return err
			}
			if budget := image.program.Budget; budget > 0 && size > budget {
				problems = errors.Join(problems, fmt.Errorf("the image of %s for %s has %.1f MB, and may have %.1f MB: "+
					"go tool nm -size -sort size tells what its program links", image.name, platform, float64(size)/1e6, float64(budget)/1e6))
			}
		}
	}
	return problems
}

// imageCommand is for programs of tests, which run on this machine.
func imageCommand(_ context.Context, arguments []string, _ io.Writer) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	output := flags.String("output", "", "layout to write")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	if *output == "" || flags.NArg() == 0 {
		return errors.New("usage: release image -output DIR PROGRAM, or several")
	}
	platform := program.Platform{OS: "linux", Arch: runtime.GOARCH}
	var images []named
	for _, file := range flags.Args() {
		name := filepath.Base(file)
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		layer, err := (&layers{}).ofProgram(name, content)
		if err != nil {
			return err
		}
		image, err := imageOf(name, platform, time.Unix(0, 0), nil, layer)
		if err != nil {
			return err
		}
		images = append(images, named{name: name, index: indexOf([]v1.Image{image}, []program.Platform{platform}, nil)})
	}
	return writeLayout(*output, images)
}

// progress says what takes more than two seconds, until the function that it
// returns is called.
func progress(what string) (done func()) {
	start := time.Now()
	ended := make(chan struct{})
	go func() {
		ticker := time.NewTicker(2 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
				_, _ = fmt.Fprintf(os.Stderr, "  %s, %.0fs\n", what, time.Since(start).Seconds())
				ticker.Reset(20 * time.Second)
			}
		}
	}()
	return func() { close(ended) }
}
