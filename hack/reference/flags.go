// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"regexp"
	"strings"

	"connectedapps.dev/operator/internal/options/manageroptions"
	"connectedapps.dev/operator/internal/options/refresheroptions"
)

// flagsPage has the flags and variables of the programs that a cluster runs.
func flagsPage(root string) (map[string]string, error) {
	var b strings.Builder
	b.WriteString(generated + "# Flags\n\n" +
		"Of the programs that a cluster runs, and the commands of `tokenserver`. Each says the same with `--help`.\n")
	help, flags := manageroptions.Help()
	manager, err := program("manager", help, "MANAGER_", ofSet(flags))
	if err != nil {
		return nil, err
	}
	help, flags = refresheroptions.Help()
	refresher, err := program("refresher", help, "REFRESHER_", ofSet(flags))
	if err != nil {
		return nil, err
	}
	commands, err := commands(root, "./cmd/tokenserver", "TOKENSERVER_")
	if err != nil {
		return nil, err
	}
	variables, err := variablesTable(root)
	if err != nil {
		return nil, err
	}
	b.WriteString(manager + refresher + commands + "\n## Other variables\n\n" + variables)
	return map[string]string{"flags.md": b.String()}, nil
}

// pluginPage has the commands of the plugin. Variables set none of its flags.
func pluginPage(root string) (map[string]string, error) {
	sections, err := commands(root, "./cmd/kubectl-connectedapp", "")
	if err != nil {
		return nil, err
	}
	return map[string]string{"kubectl-connectedapp.md": generated + "# The commands of the plugin\n\n" +
		"[The kubectl plugin](../kubectl-plugin.md) is about working with them. Flags of the first table are of each command.\n" + sections}, nil
}

// option is a flag of a program.
type option struct {
	name      string // with its shorthand
	value     string // what stands for the value; empty: none is needed
	usage     string
	byDefault string
}

// defaultAtEnd is how usages tell a default that the library does not know or show.
var defaultAtEnd = regexp.MustCompile(`^(.*?);? \(default:? (.*)\)$`)

func newOption(name, value, usage, byDefault string) option {
	if found := defaultAtEnd.FindStringSubmatch(usage); found != nil {
		usage, byDefault = found[1], strings.Trim(found[2], `"`)
	}
	if value == "" && byDefault == "" {
		byDefault = "false"
	}
	return option{name, value, usage, shortDuration(byDefault)}
}

var longDuration = regexp.MustCompile(`^(\d+h)?(\d+m)0s$`)

// shortDuration is a duration without parts that are zero.
func shortDuration(s string) string {
	if longDuration.MatchString(s) {
		return strings.TrimSuffix(strings.TrimSuffix(s, "0s"), "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m0s")]
	}
	return s
}

func ofSet(flags *flag.FlagSet) (all []option) {
	flags.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		all = append(all, newOption("--"+f.Name, value, usage, f.DefValue))
	})
	return all
}

// program is the section of a program without commands.
func program(name, help, variables string, flags []option) (string, error) {
	rows, err := optionTable(flags, variables)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return "\n## " + name + "\n\n" + prose(help) + "\n" + rows, nil
}

// optionTable has a row for each flag; variables is before the names of those that set
// them, empty if there are none.
func optionTable(flags []option, variables string) (string, error) {
	head := []string{"flag", "default", "what it says"}
	if variables != "" {
		head = append(head, "variable")
	}
	rows := [][]string{head}
	for _, f := range flags {
		if f.usage == "" {
			return "", fmt.Errorf("the flag %s does not say what it is for", f.name)
		}
		long := f.name[strings.LastIndex(f.name, "--"):]
		row := []string{code(strings.TrimSpace(f.name + " " + f.value)), text(f.byDefault), text(f.usage)}
		if variables != "" {
			row = append(row, code(variables+strings.ToUpper(strings.ReplaceAll(long[2:], "-", "_"))))
		}
		rows = append(rows, row)
	}
	return table(rows...), nil
}

// prose is the text of a help: indented lines are code.
func prose(help string) string {
	var b strings.Builder
	fence := func(begin bool) {
		if begin {
			b.WriteString("\n```text\n")
		} else {
			b.WriteString("```\n\n")
		}
	}
	var inCode bool
	lines := strings.Split(strings.TrimRight(help, "\n"), "\n")
	for i, line := range lines {
		switch indented := strings.HasPrefix(line, "  "); {
		case line == "" && inCode && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  "):
			b.WriteString("\n")
			continue
		case indented != inCode:
			inCode = indented
			fence(indented)
		}
		if inCode {
			b.WriteString(strings.TrimPrefix(line, "  ") + "\n")
		} else {
			b.WriteString(inText.Replace(line) + "\n")
		}
	}
	if inCode {
		fence(false)
	}
	return strings.TrimSpace(regexp.MustCompile(`\n{3,}`).ReplaceAllString(b.String(), "\n\n")) + "\n"
}
