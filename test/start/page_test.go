// SPDX-License-Identifier: Apache-2.0

package start

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
)

// block is one of a page, as it is printed.
type block struct{ language, text string }

// reader follows a page from its first block to its last, in a folder.
type reader struct {
	*testing.T
	folder string
	// kubeconfig is of who reads.
	kubeconfig string
	// here replaces hosts that the page names by those of this machine, and inPod
	// what is so in Pods; in all but manifests.
	here, inPod []string

	page   string
	blocks []block
}

var fenced = regexp.MustCompile("(?ms)^ *```(\\w+)\n(.*?)^ *```$")

// open begins a page, below docs.
func open(t *testing.T, folder, kubeconfig, page string, here ...string) *reader {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", filepath.FromSlash(page)))
	require.NoError(t, err)
	r := &reader{T: t, folder: folder, kubeconfig: kubeconfig, here: here, page: page}
	for _, b := range fenced.FindAllStringSubmatch(string(text), -1) {
		r.blocks = append(r.blocks, block{language: b[1], text: b[2]})
	}
	require.Equal(t, strings.Count(string(text), "```"), 2*len(r.blocks), "%s: each block has a language", page)
	return r
}

// until follows the page up to the block that has a text, and that one too.
func (r *reader) until(text string) {
	r.Helper()
	for len(r.blocks) > 0 {
		next := r.blocks[0]
		r.blocks = r.blocks[1:]
		r.follow(next)
		if strings.Contains(next.text, text) {
			return
		}
	}
	require.Fail(r, "no such block", "%s in the rest of %s", text, r.page)
}

// finish fails when something of the page was not followed.
func (r *reader) finish() {
	r.Helper()
	require.Empty(r, r.blocks, "what of %s nobody has followed", r.page)
}

// take takes the next block, whose language is known, without following it.
func (r *reader) take(language, with string) string {
	r.Helper()
	require.NotEmpty(r, r.blocks)
	next := r.blocks[0]
	r.blocks = r.blocks[1:]
	require.Equal(r, language, next.language, next.text)
	require.Contains(r, next.text, with)
	return r.adapted(next)
}

func (r *reader) adapted(b block) string {
	pairs := slices.Clone(r.here)
	if b.language != "yaml" {
		pairs = append(pairs, r.inPod...)
	}
	return strings.NewReplacer(pairs...).Replace(b.text)
}

func (r *reader) follow(b block) {
	r.Helper()
	switch b.language {
	case "sh":
		out, err := r.shell("-euo", "pipefail", "-c", r.adapted(b)).CombinedOutput()
		require.NoError(r, err, "%s%s", b.text, out)
	case "console":
		r.see(r.adapted(b))
	default:
		r.write(r.adapted(b))
	}
}

// named is the first line of a block that is a file: a comment with its name, and what
// is done with it when that is one command.
var named = regexp.MustCompile(`^(?:#|//) ([\w/.-]+\.\w+)(?:: (kubectl .+))?\n`)

func (r *reader) write(text string) {
	r.Helper()
	name := named.FindStringSubmatch(text)
	require.NotNil(r, name, "a file of %s has no name:\n%s", r.page, text)
	path := filepath.Join(r.folder, name[1])
	require.NoError(r, os.WriteFile(path, []byte(text), 0o600))
	if name[2] != "" {
		out, err := r.shell("-euo", "pipefail", "-c", name[2]).CombinedOutput()
		require.NoError(r, err, "%s\n%s", name[2], out)
	}
}

// see runs the commands of a console and compares what they print, again for a while
// since a cluster takes a moment to know of rights and rules. "…" in the page is
// anything, in a line or of lines.
func (r *reader) see(console string) {
	r.Helper()
	require.True(r, strings.HasPrefix(console, "$ "), console)
	for _, entry := range strings.Split("\n"+console, "\n$ ")[1:] {
		command, want, _ := strings.Cut(entry, "\n")
		pattern := regexp.QuoteMeta(fields(want))
		pattern = strings.NewReplacer("\n…\n", "\n(?s:.*)", "…", "(?s:.*)").Replace("\n" + pattern + "\n")
		testenv.Eventually(r, func(c *require.Assertions) {
			out, _ := r.shell("-c", command).CombinedOutput()
			c.Regexp("^"+pattern+"$", "\n"+fields(string(out))+"\n", "%s: %s", r.page, command)
		})
	}
}

// fields is a text with one space where it has several.
func fields(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func (r *reader) shell(arguments ...string) *exec.Cmd {
	command := exec.CommandContext(r.Context(), "bash", arguments...)
	command.Dir = r.folder
	command.Env = append(os.Environ(), "KUBECONFIG="+r.kubeconfig, "PATH="+programs+":"+os.Getenv("PATH"))
	return command
}
