// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/options/manageroptions"
	"connectedapps.dev/operator/internal/options/refresheroptions"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, folder, name))
	require.NoError(t, err)
	return string(text)
}

// pages are the files of a folder by their names.
func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	pages := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		pages[filepath.Base(file)] = string(text)
	}
	return pages
}

func TestAPageThatIsGoneDoesNotStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "docs")
	require.NoError(t, write(dir, map[string]string{"a.md": "a", "gone.md": "gone"}))
	require.NoError(t, write(dir, map[string]string{"a.md": "another"}))
	require.Equal(t, map[string]string{"a.md": "another"}, pages(t, dir))
}

// TestThePagesAreThoseOfTheSource leaves those of built programs to make verify.
func TestThePagesAreThoseOfTheSource(t *testing.T) {
	written := pages(t, filepath.Join(root, folder))
	made, err := kindPages(root, filepath.Join(root, "config/crd/bases"))
	require.NoError(t, err)
	for _, page := range []func(string) (map[string]string, error){conditionsPage, namesPage} {
		some, err := page(root)
		require.NoError(t, err)
		maps.Copy(made, some)
	}
	require.Len(t, made, 5)
	for name, page := range made {
		require.Equal(t, page, written[name], "make manifests")
	}
}

func TestEveryPageIsInTheIndex(t *testing.T) {
	for name := range pages(t, filepath.Join(root, folder)) {
		if name != "README.md" {
			require.Contains(t, page(t, "README.md"), "]("+name+")")
		}
	}
}

func TestEveryFlagHasARowWithItsVariable(t *testing.T) {
	flags := page(t, "flags.md")
	for variables, help := range map[string]func() (string, *flag.FlagSet){"MANAGER_": manageroptions.Help, "REFRESHER_": refresheroptions.Help} {
		count := 0
		_, set := help()
		set.VisitAll(func(f *flag.Flag) {
			count++
			require.Regexp(t, "(?m)^\\| `--"+f.Name+"[ `].*"+variables+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))+"` \\|$", flags)
		})
		require.Greater(t, count, 10)
	}
	require.Contains(t, flags, "\n### tokenserver database restore\n")
	require.Contains(t, flags, "| `--listen address` | as the configuration says | address of the endpoints | `TOKENSERVER_LISTEN` |")
	require.Contains(t, flags, "| `--probe-interval duration` | 1m | how often each token server is probed | `MANAGER_PROBE_INTERVAL` |")
}

func TestAHelpIsReadAsItIsWritten(t *testing.T) {
	h := parseHelp(`do works.

Usage:
  prog do FILE [flags]

Examples:
  prog do x

Available Commands:
  completion  Generate
  part        Do a part

Flags:
  -h, --help[=true|false]   help for do
      --how way             how it is done (default "well")
  -n, --now[=true|false]    at once
      --silent string

Global Flags:
      --wait duration   of each command, so that it is told once

Use "prog do [command] --help" for more information about a command.
`)
	require.Equal(t, help{
		text: "do works.", usage: "prog do FILE", examples: "  prog do x\n\n", commands: []string{"part"},
		flags: []option{{"--how", "way", "how it is done", "well"}, {"-n, --now", "", "at once", "false"}, {"--silent", "string", "", ""}},
	}, h)
	_, err := h.section("", false)
	require.EqualError(t, err, "prog do: the flag --silent does not say what it is for")
}

func TestADefaultHasNoPartsThatAreZero(t *testing.T) {
	for long, short := range map[string]string{"10m0s": "10m", "1h0m0s": "1h", "1h30m0s": "1h30m", "0s": "0s", "30s": "30s", "1m30s": "1m30s", "text": "text"} {
		require.Equal(t, short, shortDuration(long))
	}
}

// TestEveryNameIsOnAPage looks for names in all that a cluster is given: each has a
// row, or is of the sidecar and told with it.
func TestEveryNameIsOnAPage(t *testing.T) {
	told := page(t, "annotations.md")
	sidecar, err := os.ReadFile(filepath.Join(root, "docs/token-delivery.md"))
	require.NoError(t, err)
	name := regexp.MustCompile(`['" ]((?:restart\.)?connectedapps\.dev/[a-z][a-z-]*[a-z])['":]`)
	count := 0
	for _, dir := range []string{"config", "charts", "internal", "cmd", "api"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, found := range name.FindAllStringSubmatch(string(source), -1) {
				if count++; found[1] == "connectedapps.dev/operator" {
					continue // the module
				}
				if !strings.Contains(told, "| `"+found[1]+"` |") && !regexp.MustCompile("`"+found[1]+"`|"+found[1]+": ").Match(sidecar) {
					t.Errorf("%s names %s, which no page explains", path, found[1])
				}
			}
			return err
		}))
	}
	require.Greater(t, count, 50)
}

func TestANameWithoutItsPlaceIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, path := range sourcesOfNames {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, path),
			[]byte("package p\n\nconst (\n\t// LabelNew is new.\n\tLabelNew = \"connectedapps.dev/new\"\n)\n"), 0o644))
	}
	_, err := namesPage(dir)
	require.ErrorContains(t, err, "api/v1alpha1/names.go: LabelNew needs")
}
