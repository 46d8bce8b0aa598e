// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"strings"
)

// AssetPath is where Assets is mounted; a file's name holds the hash of its
// content, so it never changes and is cached for good.
const AssetPath = "/accounts/assets/"

//go:embed assets
var assetFiles embed.FS

// Assets serves the style sheet and the icon.
type Assets struct {
	// names maps a plain file name to its path with the hash in it.
	names map[string]string
	files map[string][]byte
}

// NewAssets reads the embedded files.
func NewAssets() *Assets {
	a := &Assets{names: map[string]string{}, files: map[string][]byte{}}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic("reading embedded assets: " + err.Error())
	}
	for _, entry := range entries {
		content, err := assetFiles.ReadFile("assets/" + entry.Name())
		if err != nil {
			panic("reading embedded assets: " + err.Error())
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(entry.Name())
		name := AssetPath + strings.TrimSuffix(entry.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.names[entry.Name()], a.files[name] = name, content
	}
	return a
}

// Path is the address of a file, for a template.
func (a *Assets) Path(name string) string { return a.names[name] }

func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, ok := a.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(r.URL.Path)))
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(content)
}
