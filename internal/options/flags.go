// SPDX-License-Identifier: Apache-2.0

// Package options holds what the flags of the small binaries share. The flags
// themselves are in a package for each, so that no binary links what the flags
// of another need.
package options

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Read sets flags from the arguments and, where these say nothing, from the
// variables called envPrefix and the flag's name in upper case:
// REFRESHER_OUTPUT_DIR is --output-dir. Problems are those to report together
// with what validation finds; err ends the reading: flag.ErrHelp, or arguments
// that cannot be read, problems included.
func Read(flags *flag.FlagSet, envPrefix string, args []string, getenv func(string) string) (problems []error, err error) {
	flags.SetOutput(io.Discard) // the caller prints errors, once
	flags.Usage = func() {}
	problems = setFromEnvironment(flags, envPrefix, getenv)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, errors.Join(append(problems, err)...)
	}
	if flags.NArg() > 0 {
		problems = append(problems, fmt.Errorf("unexpected argument %q: everything is set by flags", flags.Arg(0)))
	}
	return problems, nil
}

func setFromEnvironment(flags *flag.FlagSet, envPrefix string, getenv func(string) string) (problems []error) {
	flags.VisitAll(func(f *flag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := getenv(name)
		if value == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			problems = append(problems, fmt.Errorf("variable %s: value %q: %w", name, value, err))
		}
	})
	return problems
}
