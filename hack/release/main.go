// SPDX-License-Identifier: Apache-2.0

// Command release builds what people install, without a container engine: images,
// and all files of a release. It runs in the root of the repository.
//
//	release images  -version v0.2.0
//	release push    -registry registry.example.com/connectedapps -tag v0.2.0
//	release dist    -version v0.2.0 -registry registry.example.com/connectedapps -downloads https://…
//	release image   -output DIR PROGRAM...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "✘", err)
		os.Exit(1)
	}
}

var commands = map[string]func(ctx context.Context, arguments []string, out io.Writer) error{
	"dist": distCommand, "image": imageCommand, "images": imagesCommand, "push": pushCommand,
}

func run(ctx context.Context, arguments []string, out io.Writer) error {
	if len(arguments) > 0 && commands[arguments[0]] != nil {
		return commands[arguments[0]](ctx, arguments[1:], out)
	}
	return errors.New("usage: release dist | image | images | push; -help after it tells more")
}

func parse(flags *flag.FlagSet, arguments []string) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(os.Stderr)
		flags.Usage()
	}
	return err
}
