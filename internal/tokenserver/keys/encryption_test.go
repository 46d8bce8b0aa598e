// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// keyFile writes an encryption key of 32 equal bytes and returns its path.
func keyFile(t *testing.T, fill byte) string {
	t.Helper()
	return writeKey(t, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, KeySize))+"\n", 0o600)
}

func writeKey(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "encryption-key")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func encryptionKeys(t *testing.T, fills ...byte) *EncryptionKeys {
	t.Helper()
	var files []string
	for _, fill := range fills {
		files = append(files, keyFile(t, fill))
	}
	e, err := LoadEncryptionKeys(files)
	require.NoError(t, err)
	return e
}

func TestAnUnusableKeyFileIsNamed(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, KeySize))
	for name, test := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"an empty file":         {"", 0o600, "must hold base64 of 32 bytes"},
		"a key too short":       {base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 16)), 0o600, "must hold base64 of 32 bytes"},
		"a key too long":        {base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 33)), 0o600, "must hold base64 of 32 bytes"},
		"hexadecimal digits":    {strings.Repeat("ab", 32), 0o600, "must hold base64 of 32 bytes"},
		"raw bytes":             {strings.Repeat("\x01", 32), 0o600, "must hold base64 of 32 bytes"},
		"writable by its group": {good, 0o660, "may be written by others (mode 0660): run chmod go-w"},
		"writable by everybody": {good, 0o602, "may be written by others (mode 0602): run chmod go-w"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeKey(t, test.content, test.mode)
			_, err := LoadEncryptionKeys([]string{path})
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, path)
			if test.content != "" {
				require.NotContains(t, err.Error(), test.content)
			}
		})
	}
}

func TestAMissingKeyFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	_, err := LoadEncryptionKeys([]string{keyFile(t, 1), path})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, path)
	_, err = LoadEncryptionKeys(nil)
	require.ErrorContains(t, err, "no encryption key file is configured")
}

func TestAKeyFileReadableByItsGroupIsTaken(t *testing.T) {
	// As the kubelet writes it for a Pod with an fsGroup.
	_, err := LoadEncryptionKeys([]string{writeKey(t, base64.StdEncoding.EncodeToString(make([]byte, KeySize)), 0o440)})
	require.NoError(t, err)
}

func TestWhatIsWrappedOpensOnlyUnderItsOwnName(t *testing.T) {
	e := encryptionKeys(t, 1)
	wrapped, by := e.wrap([]byte("secret"), "cookie")
	require.NotContains(t, string(wrapped), "secret")
	plain, err := e.unwrap(wrapped, by, "cookie")
	require.NoError(t, err)
	require.Equal(t, "secret", string(plain))
	_, err = e.unwrap(wrapped, by, "refresh")
	require.ErrorIs(t, err, ErrWrongKey, "a data key cannot be passed off as another")
	wrapped[len(wrapped)-1] ^= 1
	_, err = e.unwrap(wrapped, by, "cookie")
	require.ErrorIs(t, err, ErrWrongKey)
}

func FuzzUnseal(f *testing.F) {
	aead, err := newAEAD(make([]byte, KeySize))
	require.NoError(f, err)
	f.Add([]byte{}, []byte{})
	f.Add(seal(aead, []byte("plain"), []byte("label")), []byte("label"))
	f.Fuzz(func(t *testing.T, sealed, label []byte) {
		if plain, err := unseal(aead, sealed, label); err == nil {
			require.Len(t, sealed, len(plain)+aead.NonceSize()+aead.Overhead())
		}
	})
}
