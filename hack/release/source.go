// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	homePage = "https://connectedapps.dev/operator"
	licence  = "Apache-2.0"
)

// source is what is built: it alone decides what comes out.
type source struct {
	// root is the folder of the repository.
	root     string
	version  string
	revision string
	// created is the time of the commit, or SOURCE_DATE_EPOCH.
	// https://reproducible-builds.org/specs/source-date-epoch/
	created time.Time
}

var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// isTag is an error about a variable of make whose value is no tag of an image.
func isTag(variable, value string) error {
	if tagPattern.MatchString(value) {
		return nil
	}
	return fmt.Errorf("%s=%q is no tag of an image: letters, digits, dots, dashes and underscores, 128 at most", variable, value)
}

func readSource(ctx context.Context, root, version string) (source, error) {
	s := source{root: root, version: version}
	// A version is the tag of images as well.
	if err := isTag("VERSION", version); err != nil {
		return s, err
	}
	head, err := s.git(ctx, "log", "-1", "--format=%H %ct")
	if err == nil {
		var seconds string
		s.revision, seconds, _ = strings.Cut(head, " ")
		s.created, err = unix(seconds)
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		if s.created, err = unix(epoch); err != nil {
			return s, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
	}
	if err != nil {
		return s, fmt.Errorf("the time of what is built is that of its commit: %w; without git, set SOURCE_DATE_EPOCH", err)
	}
	return s, nil
}

func unix(seconds string) (time.Time, error) {
	n, err := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(n, 0).UTC(), err
}

func (s source) git(ctx context.Context, arguments ...string) (string, error) {
	return output(s.command(ctx, "git", arguments...))
}

func (s source) command(ctx context.Context, name string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = s.root
	return command
}

// output is what a command prints, without the last line break.
func output(command *exec.Cmd) (string, error) {
	out, err := command.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// labels are those of the OCI image specification, of one program.
// https://github.com/opencontainers/image-spec/blob/main/annotations.md
func (s source) labels(title, description string) map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       title,
		"org.opencontainers.image.description": description,
		"org.opencontainers.image.source":      homePage,
		"org.opencontainers.image.version":     s.version,
		"org.opencontainers.image.licenses":    licence,
		"org.opencontainers.image.created":     s.created.Format(time.RFC3339),
	}
	if s.revision != "" {
		labels["org.opencontainers.image.revision"] = s.revision
	}
	return labels
}
