// SPDX-License-Identifier: Apache-2.0

// Command registry is a registry of images on loopback, for tests: CNCF
// Distribution, which many registries are made of, on files of a folder. It writes
// its address to standard output once it can be asked.
//
//	registry [-address 127.0.0.1:5000] [-htpasswd FILE] FOLDER
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	passwords := flag.String("htpasswd", "", "file of who may log in (default: everybody may, without)")
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("usage: registry [-address ADDRESS] [-htpasswd FILE] FOLDER")
	}
	logrus.SetOutput(io.Discard)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handlers.NewApp(ctx, configured(flag.Arg(0), *passwords)), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Println(listener.Addr())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

func configured(dir, passwords string) *configuration.Configuration {
	c := &configuration.Configuration{
		Version: "0.1",
		Storage: configuration.Storage{"filesystem": configuration.Parameters{"rootdirectory": dir}},
		Catalog: configuration.Catalog{MaxEntries: 1000},
	}
	c.HTTP.Secret = "of one run" // signs the state of uploads
	if passwords != "" {
		c.Auth = configuration.Auth{"htpasswd": configuration.Parameters{"realm": "registry", "path": passwords}}
	}
	return c
}
