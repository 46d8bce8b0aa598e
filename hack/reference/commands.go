// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// built is a program with commands, of which only its help is asked: the package of
// a program cannot be imported.
type built struct{ folder, path string }

// build makes the program of a package below root.
func build(root, pkg string) (*built, error) {
	folder, err := os.MkdirTemp("", "reference-")
	if err != nil {
		return nil, err
	}
	b := &built{folder, filepath.Join(folder, filepath.Base(pkg))}
	command := exec.Command("go", "build", "-o", b.path, pkg)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile builds it, so that most of it is there
	if out, err := command.CombinedOutput(); err != nil {
		b.remove()
		return nil, fmt.Errorf("building %s: %w: %s", pkg, err, out)
	}
	return b, nil
}

func (b *built) remove() { _ = os.RemoveAll(b.folder) }

// commands are the sections of the program of a package below root, and of each of its
// commands.
func commands(root, pkg, variables string) (string, error) {
	b, err := build(root, pkg)
	if err != nil {
		return "", err
	}
	defer b.remove()
	return b.commands(variables)
}

// notOurs are commands that the library adds.
var notOurs = []string{"completion", "help"}

// commands are the sections of a program and of each of its commands.
func (b *built) commands(variables string, path ...string) (string, error) {
	command := exec.Command(b.path, append(slices.Clone(path), "--help")...)
	command.Env = []string{"HOME=~"} // or defaults would name folders of this machine
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("asking %s %s for help: %w", filepath.Base(b.path), strings.Join(path, " "), err)
	}
	h := parseHelp(string(out))
	section, err := h.section(variables, len(path) == 0)
	if err != nil {
		return "", err
	}
	for _, name := range h.commands {
		below, err := b.commands(variables, append(slices.Clone(path), name)...)
		if err != nil {
			return "", err
		}
		section += below
	}
	return section, nil
}

// help is what a command says of itself.
type help struct {
	text, usage, examples string
	commands              []string
	flags                 []option
}

var (
	helpSection = regexp.MustCompile(`(?m)^(Usage|Aliases|Examples|Available Commands|Flags|Global Flags):\n`)
	helpFlag    = regexp.MustCompile(`^ {2,6}((?:-\w, )?--[\w-]+)(?:\[=[^]]*\])?(?: (\S+))?(?: {2,}(.*))?$`)
)

// parseHelp reads the help as cobra writes it.
func parseHelp(out string) help {
	var h help
	at := helpSection.FindAllStringSubmatchIndex(out, -1)
	if len(at) > 0 {
		h.text = strings.TrimSpace(out[:at[0][0]])
	}
	for i, match := range at {
		end := len(out)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		body, _, _ := strings.Cut(out[match[1]:end], "\nUse \"")
		switch out[match[2]:match[3]] {
		case "Usage":
			h.usage = strings.TrimSuffix(strings.TrimSpace(strings.Split(body, "\n")[0]), " [flags]")
		case "Examples":
			h.examples = body
		case "Available Commands":
			for _, line := range strings.Split(strings.TrimSpace(body), "\n") {
				if name := strings.Fields(line)[0]; !slices.Contains(notOurs, name) {
					h.commands = append(h.commands, name)
				}
			}
		case "Flags":
			h.flags = parseFlags(body)
		}
	}
	return h
}

func parseFlags(body string) (flags []option) {
	for line := range strings.Lines(body) {
		if found := helpFlag.FindStringSubmatch(strings.TrimRight(line, "\n")); found != nil && !strings.HasSuffix(found[1], "--help") {
			flags = append(flags, newOption(found[1], found[2], found[3], ""))
		}
	}
	return flags
}

// section is the part of a page about a command; top is the program itself.
func (h *help) section(variables string, top bool) (string, error) {
	words := strings.Fields(h.usage)
	arguments := slices.IndexFunc(words, func(word string) bool { return strings.ToUpper(word) == word || strings.HasPrefix(word, "[") })
	if arguments < 0 {
		arguments = len(words)
	}
	name := strings.Join(words[:arguments], " ")
	var b strings.Builder
	level := "\n### "
	if top {
		level = "\n## "
	}
	b.WriteString(level + name + "\n\n" + prose(h.text))
	if len(h.commands) == 0 {
		b.WriteString("\n" + fenced("text", h.usage))
	}
	if len(h.flags) > 0 {
		rows, err := optionTable(h.flags, variables)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		b.WriteString("\n" + rows)
	}
	if h.examples != "" {
		b.WriteString("\nExamples:\n\n" + prose(strings.TrimRight(h.examples, "\n")))
	}
	return b.String(), nil
}
