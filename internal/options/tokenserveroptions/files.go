// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// checkFiles reads every file the configuration names, but for the database.
func (v *validator) checkFiles() {
	for i, file := range v.config.EncryptionKeyFiles {
		if file == "" {
			continue
		}
		if _, err := keys.LoadEncryptionKeys([]string{file}); err != nil {
			v.addf(fmt.Sprintf("encryptionKeyFiles[%d]", i), "%v", err)
		}
	}
	if v.config.TLSCertFile != "" && v.config.TLSKeyFile != "" {
		v.certificate()
	}
	if p := v.config.Storage.PostgreSQL; p != nil {
		if err := postgresql.CheckPasswordFile(p.PasswordFile); err != nil {
			v.addf("storage.postgresql.passwordFile", "%v", err)
		}
		if err := postgresql.CheckCAFile(p.CAFile); err != nil {
			v.addf("storage.postgresql.caFile", "%v", err)
		}
	}
	for _, p := range v.config.Tracing.ValidateFiles() {
		v.addf("tracing."+p.Field, "%v", p.Err)
	}
	v.workloadIssuerFiles()
	if c := v.config.Bootstrap.AdminClient; c != nil && c.ClientSecretFile != "" {
		if _, err := c.Secrets(); err != nil {
			v.addf("bootstrap.adminClient.clientSecretFile", "%v", err)
		}
	}
}

func (v *validator) certificate() {
	pair, err := tls.LoadX509KeyPair(v.config.TLSCertFile, v.config.TLSKeyFile)
	if err != nil {
		v.addf("tlsCertFile", "loading certificate and key: %v", err)
		return
	}
	if u, err := url.Parse(v.config.PublicURL); err == nil && pair.Leaf != nil {
		if err := pair.Leaf.VerifyHostname(u.Hostname()); err != nil {
			v.warnf("the certificate in tlsCertFile does not cover the host of publicURL: %v", err)
		}
	}
}

const (
	minSecret = 16
	maxSecret = 512
)

// secretOptional tells whether the client can do without a secret.
func (c *AdminClient) secretOptional() bool { return len(c.FederatedIdentities) > 0 }

// Secrets reads the client's secret: one, or none when it has none.
func (c *AdminClient) Secrets() ([]string, error) {
	if c.ClientSecretFile == "" {
		return nil, nil
	}
	secret, err := readSecret(c.ClientSecretFile)
	switch {
	case (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errEmpty)) && c.secretOptional():
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []string{secret}, nil
}

var errEmpty = errors.New("it is empty")

// readSecret reads a client secret. A final line end does not belong to it.
func readSecret(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	secret := string(bytes.TrimRight(content, "\r\n"))
	if secret == "" {
		return "", fmt.Errorf("%s must hold one line of %d to %d printable ASCII characters: %w", file, minSecret, maxSecret, errEmpty)
	}
	// The error must not show the secret.
	if len(secret) < minSecret || len(secret) > maxSecret || strings.ContainsFunc(secret, notPrintableASCII) {
		return "", fmt.Errorf("%s must hold one line of %d to %d printable ASCII characters", file, minSecret, maxSecret)
	}
	return secret, nil
}

// notPrintableASCII: a client secret is made of VSCHAR.
// https://www.rfc-editor.org/rfc/rfc6749#appendix-A.2
func notPrintableASCII(r rune) bool { return r < 0x20 || r > 0x7e }

func readPasswordHash(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	hash := string(bytes.TrimSpace(content))
	if _, err := user.ParsePasswordHash(hash); err != nil {
		return "", errors.New(file + " must hold what `tokenserver user hash` prints")
	}
	return hash, nil
}

// readLogo reads no more than shows that a file is too large.
func readLogo(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, directory.MaxLogo+1))
}

func noPasswordHash(string) (string, error) { return "", nil }

func (v *validator) directory(readHash func(string) (string, error)) *directory.Directory {
	config := directory.Config{Organizations: v.config.Organizations, Users: v.config.Users}
	if v.readsFiles {
		config.ReadFile = readLogo
	}
	d, problems := config.Build(readHash)
	for _, problem := range problems {
		v.addf(problem.Path, "%s", problem.Message)
	}
	return d
}
