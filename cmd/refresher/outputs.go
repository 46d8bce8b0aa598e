// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/httpserver"
	"connectedapps.dev/operator/internal/options/refresheroptions"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/refresher/kubesecret"
	"connectedapps.dev/operator/internal/refresher/serve"
)

// output is where the token goes, which is the token's alone until release is
// called.
func output(t refresheroptions.Token) (out refresher.Output, release func(), err error) {
	release = func() {}
	switch {
	case t.Secret != "":
		out, err = secretOutput(t)
	case t.OutputDir == "":
		out = refresher.MemoryOutput{}
	default:
		dir := atomicfile.Dir{Path: t.OutputDir, Mode: t.Mode, Group: t.Group}
		out = refresher.FileOutput{Dir: dir}
		release, err = take(dir)
	}
	return out, release, err
}

func secretOutput(o refresheroptions.Token) (refresher.Output, error) {
	api, err := kubesecret.InCluster(os.Getenv, o.ServiceAccountDir)
	if err != nil {
		return nil, fmt.Errorf("--secret: %w", err)
	}
	namespace := o.SecretNamespace
	if namespace == "" {
		if namespace, err = api.Namespace(); err != nil {
			return nil, fmt.Errorf("--secret: %w", err)
		}
	}
	return &kubesecret.Output{API: api, Namespace: namespace, Name: o.Secret, MinimumLifetime: o.MinimumLifetime}, nil
}

// serveToken answers GET /token on address until the returned function is called.
// It serves nothing when address is empty.
func serveToken(address string, engine *refresher.Engine, logger *slog.Logger) (shutdown func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for --serve: %w", err)
	}
	logger.Info("serving the token", "address", listener.Addr().String())
	endpoint := &serve.Endpoint{Token: engine.Token, Address: listener.Addr()}
	server := httpserver.New(endpoint.Handler(), logger, limits())
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }, nil
}
