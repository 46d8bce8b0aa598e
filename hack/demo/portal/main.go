// SPDX-License-Identifier: Apache-2.0

// Command portal is the application of the demo that people sign in to, by the
// authorization code grant with PKCE. It knows what a Pod would: the files of
// its ConnectedApp's Secret, and the address it is reached at.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	credentials := flag.String("credentials-dir", "", "folder with the files of the ConnectedApp's Secret")
	address := flag.String("url", "", "address at which browsers reach the portal, such as http://localhost:8090")
	flag.Parse()
	if err := run(ctx, *credentials, *address); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "portal:", err)
		os.Exit(1)
	}
}

// run serves until the context ends.
func run(ctx context.Context, credentials, address string) error {
	at, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("reading --url: %w", err)
	}
	p, err := newPortal(ctx, credentials, address)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", at.Port()))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Printf("the portal is at %s\n", address)
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}

// newPortal reads the files of the Secret and asks the token server where its
// endpoints are.
func newPortal(ctx context.Context, credentials, address string) (*portal, error) {
	values := map[string]string{}
	for _, key := range []string{"client-id", "client-secret", "issuer-url", "scopes"} {
		value, err := os.ReadFile(filepath.Join(credentials, key))
		if err != nil {
			return nil, err
		}
		values[key] = string(value)
	}
	client, err := httpClient(filepath.Join(credentials, "ca.crt"))
	if err != nil {
		return nil, err
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), values["issuer-url"])
	if err != nil {
		return nil, fmt.Errorf("asking the token server: %w", err)
	}
	return &portal{
		client: client, provider: provider,
		config: oauth2.Config{
			ClientID: values["client-id"], ClientSecret: values["client-secret"], Endpoint: provider.Endpoint(),
			RedirectURL: address + callbackPath, Scopes: strings.Fields(values["scopes"]),
		},
	}, nil
}

// httpClient trusts the authority in a file; without the file, those of the
// system.
func httpClient(authority string) (*http.Client, error) {
	client := &http.Client{Timeout: 10 * time.Second}
	data, err := os.ReadFile(authority)
	if os.IsNotExist(err) {
		return client, nil
	}
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("reading certificates of %s: %w", authority, err)
	}
	client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return client, nil
}
