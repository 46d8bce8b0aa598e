// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/oauth"
)

// Directory is where the sidecar's credentials are: the files of a mounted
// credentials Secret, and what its user says beside them, which wins. All of it is
// read anew each time.
type Directory struct {
	// Path of the directory; empty: there is none.
	Path string
	// Keys are the files of values that are not called as CredentialNames has
	// them, by name.
	Keys map[string]string
	// GrantType is as in Credentials.
	GrantType string
	// TokenURL, Issuer, ClientID, KeyID, Audience and Subject replace those of
	// the files; empty: they do not. With Issuer and no TokenURL the endpoint is
	// the one that the issuer's metadata name.
	TokenURL, Issuer, ClientID, KeyID, Audience, Subject string
	// ServiceAccountTokenFile authenticates the client, and PrivateKeyFile does,
	// or signs the assertion of the JWT bearer grant: whatever else the
	// directory holds to authenticate with is not used. CAFile replaces ca.crt.
	// Empty: they do not.
	ServiceAccountTokenFile, PrivateKeyFile, CAFile string
}

// Credentials implements CredentialsReader. The directory is read as one set even
// while the kubelet replaces it.
func (d *Directory) Credentials(context.Context) (*Credentials, error) {
	files, err := d.files()
	if err != nil {
		return nil, credentialsErrorf("reading the credentials: %w", err)
	}
	renamed, problems := d.rename(files)
	if len(problems) > 0 {
		return nil, credentialsErrorf("credentials cannot be used: %s", strings.Join(problems, "; "))
	}
	values, problems := normalizeKeys(files)
	maps.Copy(values, renamed)
	if err := d.replace(values); err != nil {
		return nil, credentialsErrorf("reading the credentials: %w", err)
	}
	c, err := credentialsOf(values, d.GrantType, d.TokenURL, problems)
	if err != nil {
		return nil, err
	}
	c.Audience = d.Audience
	return c, nil
}

// Paths are the directory and the files that are read.
func (d *Directory) Paths() []string {
	paths := []string{d.Path, d.ServiceAccountTokenFile, d.PrivateKeyFile, d.CAFile}
	return slices.DeleteFunc(paths, func(path string) bool { return path == "" })
}

func (d *Directory) files() (map[string][]byte, error) {
	if d.Path == "" {
		return map[string][]byte{}, nil
	}
	return atomicfile.Read(d.Path)
}

// rename takes the files that Keys name, and whatever else has the name of such
// a value, out of files.
func (d *Directory) rename(files map[string][]byte) (values map[string]string, problems []string) {
	values = make(map[string]string, len(d.Keys))
	for _, name := range slices.Sorted(maps.Keys(d.Keys)) {
		content, found := files[d.Keys[name]]
		if !found {
			problems = append(problems, fmt.Sprintf("%s is missing: there is no file %s", name, d.Keys[name]))
		}
		values[CredentialName(name)] = strings.TrimRight(string(content), "\r\n")
	}
	maps.DeleteFunc(files, func(file string, _ []byte) bool {
		_, named := values[CredentialName(file)]
		return named || slices.Contains(slices.Collect(maps.Values(d.Keys)), file)
	})
	return values, problems
}

// replace puts what is said beside the directory in place of what is in it.
func (d *Directory) replace(values map[string]string) error {
	if d.ServiceAccountTokenFile != "" || d.PrivateKeyFile != "" && d.GrantType != oauth.GrantJWTBearer {
		for _, other := range []string{nameClientSecret, nameAuthMethod, nameServiceAccountToken} {
			delete(values, other)
		}
		if d.GrantType != oauth.GrantJWTBearer {
			delete(values, namePrivateKey)
		}
	}
	if d.Issuer != "" {
		delete(values, nameTokenURL)
		delete(values, nameInternalTokenURL)
	}
	for name, value := range map[string]string{
		nameIssuerURL: d.Issuer, nameClientID: d.ClientID, nameKeyID: d.KeyID, nameSubject: d.Subject,
	} {
		if value != "" {
			values[name] = value
		}
	}
	return errors.Join(
		readInto(values, nameServiceAccountToken, d.ServiceAccountTokenFile),
		readInto(values, namePrivateKey, d.PrivateKeyFile),
		readInto(values, nameCA, d.CAFile),
	)
}

// readInto reads the value of a file that was named; an empty path names none.
func readInto(values map[string]string, name, path string) error {
	if path == "" {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	values[name] = strings.TrimRight(string(content), "\r\n")
	if values[name] == "" {
		return fmt.Errorf("%s, which is to hold %s, is empty", path, name)
	}
	return nil
}
