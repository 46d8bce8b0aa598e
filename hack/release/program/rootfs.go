// SPDX-License-Identifier: Apache-2.0

package program

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// User is who programs run as in images; in the group of the same number.
const User = "65532:65532"

// Authorities is where a program finds whom to trust, in its image.
const Authorities = "etc/ssl/certs/ca-certificates.crt"

// Roots are the authorities that sign public servers, as Mozilla trusts them, from a
// module at the version of go.mod, so that no machine's own list gets into an image.
// All three programs may talk to a server that has its certificate from one of them:
// a token server elsewhere, an identity provider, the issuer of a cluster. One that
// is trusted for certificates of the past alone is left out, for a file cannot say so.
func Roots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // to memory
		}
	}
	return out.Bytes()
}

// WriteRootfs puts what an image has beside the program into a folder.
func WriteRootfs(dir string) error {
	file := filepath.Join(dir, Authorities)
	return errors.Join(
		os.MkdirAll(filepath.Dir(file), 0o755),
		os.WriteFile(file, Roots(), 0o644),
	)
}

// Folders are those above a file, from the top.
func Folders(file string) []string {
	var folders []string
	for i := range len(file) {
		if strings.HasPrefix(file[i:], "/") {
			folders = append(folders, file[:i+1])
		}
	}
	return folders
}
