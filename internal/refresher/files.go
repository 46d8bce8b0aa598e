// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"

	"connectedapps.dev/operator/internal/atomicfile"
)

// FileOutput publishes the token as a set of files that is replaced as a whole.
type FileOutput struct {
	Dir atomicfile.Dir
}

var _ Output = FileOutput{}

// Load implements Output.
func (o FileOutput) Load() (*Token, error) {
	files, err := atomicfile.Read(o.Dir.Path)
	if err != nil {
		return nil, err
	}
	return ParseFiles(files)
}

// Publish implements Output.
func (o FileOutput) Publish(t *Token) error { return o.Dir.Write(Files(t)) }

// DirectoryCredentials reads the files of a mounted credentials Secret, as one
// set even while the kubelet replaces them. tokenURL is as in ParseCredentials.
func DirectoryCredentials(path, tokenURL string) CredentialsReader {
	return func(context.Context) (*Credentials, error) {
		files, err := atomicfile.Read(path)
		if err != nil {
			return nil, credentialsErrorf("reading the credentials: %w", err)
		}
		return ParseCredentials(files, tokenURL)
	}
}
