// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/mod/semver"
)

func pushCommand(ctx context.Context, arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("push", flag.ContinueOnError)
	images := flags.String("images", "dist/images", "layout to send")
	registry := flags.String("registry", "", "where to, such as registry.example.com/connectedapps")
	tag := flags.String("tag", "", "tag of the images")
	check := flags.Bool("check", false, "only say whether there can be such images, before they are built")
	force := flags.Bool("force", false, "give the tag of a version to other images than it has")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	p, err := newPusher(*registry, *tag)
	if err != nil || *check {
		return err
	}
	all, err := readLayout(*images)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no images: make images builds them", *images)
	}
	if err != nil {
		return err
	}
	if isVersion(*tag) && !*force {
		if err := p.unmoved(ctx, all); err != nil {
			return err
		}
	}
	for _, image := range all {
		reference, err := p.push(ctx, image)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(out, reference)
	}
	return nil
}

// between is how git describe ends between versions.
var between = regexp.MustCompile(`(-\d+-g[0-9a-f]+|-dirty)$`)

// isVersion tells whether a tag is that of a release, whose images never change.
func isVersion(tag string) bool {
	number := "v" + strings.TrimPrefix(tag, "v")
	return semver.Canonical(number) == number && !between.MatchString(tag)
}

// pusher sends images to one place of one registry, all with one tag.
type pusher struct {
	prefix name.Repository
	tag    string
	remote *remote.Pusher
	reader *remote.Puller
}

func newPusher(prefix, tag string) (*pusher, error) {
	if prefix == "" {
		return nil, errors.New("where to? REGISTRY=registry.example.com/connectedapps says it")
	}
	if _, rest, found := strings.Cut(prefix, "://"); found {
		return nil, fmt.Errorf("REGISTRY=%s: without a scheme, as in names of images: %s", prefix, rest)
	}
	repository, err := name.NewRepository(prefix, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("REGISTRY=%s: %w; it is a registry and a path in it, such as registry.example.com/connectedapps", prefix, err)
	}
	if err := isTag("TAG", tag); err != nil {
		return nil, err
	}
	options := []remote.Option{
		remote.WithTransport(encrypted{remote.DefaultTransport}),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
	}
	p := &pusher{prefix: repository, tag: tag}
	if p.remote, err = remote.NewPusher(options...); err != nil {
		return nil, err
	}
	p.reader, err = remote.NewPuller(options...)
	return p, err
}

// tagged is the name that an image gets.
func (p *pusher) tagged(image named) name.Tag {
	return p.prefix.Repo(p.prefix.RepositoryStr(), image.name).Tag(p.tag)
}

// unmoved refuses images whose tag is that of others: who installs by it would get
// something else than before.
func (p *pusher) unmoved(ctx context.Context, images []named) (problems error) {
	for _, image := range images {
		digest, err := image.index.Digest()
		if err != nil {
			return err
		}
		there, err := p.reader.Head(ctx, p.tagged(image))
		if answer := (*transport.Error)(nil); errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for %s: %w", p.tagged(image), explained(err, p.prefix.RegistryStr()))
		}
		if there.Digest != digest {
			problems = errors.Join(problems, fmt.Errorf("%s is %s, and this one is %s", p.tagged(image), there.Digest, digest))
		}
	}
	if problems != nil {
		return fmt.Errorf("%w\n  nothing was sent: what a version names stays the same. Build the commit that it is made of, or choose another version; "+
			"FORCE=1 moves the tags", problems)
	}
	return nil
}

// push sends an image, and what refers to it, before the tag that shows it.
func (p *pusher) push(ctx context.Context, image named) (string, error) {
	digest, err := image.index.Digest()
	if err != nil {
		return "", err
	}
	tagged := p.tagged(image)
	defer progress("sending " + tagged.Name())()
	err = p.remote.Push(ctx, tagged.Digest(digest.String()), image.index)
	for _, referrer := range image.referrers {
		if err != nil {
			break
		}
		var about fmt.Stringer
		if about, err = referrer.Digest(); err == nil {
			err = p.remote.Push(ctx, tagged.Digest(about.String()), referrer)
		}
	}
	if err == nil {
		err = p.remote.Push(ctx, tagged, image.index)
	}
	if err != nil {
		return "", fmt.Errorf("sending %s: %w", tagged.Name(), explained(err, p.prefix.RegistryStr()))
	}
	return tagged.Name() + "@" + digest.String(), nil
}

// explained says what to do about what registries answer.
func explained(err error, registry string) error {
	var answer *transport.Error
	var connection *net.OpError
	switch {
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return fmt.Errorf("%s does not let you: %w\n  log in with docker login %s, or a tool that writes the same file; "+
			"DOCKER_CONFIG names the folder of its config.json", registry, err, registry)
	case errors.As(err, &connection):
		return fmt.Errorf("%s cannot be reached: %w\n  is it what REGISTRY should be, and does it run?", registry, err)
	default:
		return err
	}
}

// encrypted lets nothing go in the clear but what stays on this machine: neither
// credentials nor programs that a cluster is to run.
type encrypted struct{ next http.RoundTripper }

func (e encrypted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" && !loopback(r.URL.Hostname()) {
		return nil, fmt.Errorf("%s would have to be asked over plain http, where anybody between can change images and read credentials: "+
			"only a registry on loopback may be; give it a certificate", r.URL.Host)
	}
	return e.next.RoundTrip(r)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
