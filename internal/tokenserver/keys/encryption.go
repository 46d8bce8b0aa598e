// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
)

// KeySize is the size of encryption and data keys in bytes.
const KeySize = 32

// ErrWrongKey says that none of the encryption keys opens what the database
// holds.
var ErrWrongKey = errors.New("no encryption key fits this database")

// ErrNone says that the database holds no keys yet: no server has run on it.
var ErrNone = errors.New("the database holds no keys: no server has run on it yet")

// EncryptionKeys wrap what the database keeps secret. The first encrypts, all
// decrypt, so that a new one is put in front and the old one is dropped once
// everything is rewrapped.
type EncryptionKeys struct{ keys []encryptionKey }

type encryptionKey struct {
	// name is the first 8 hex digits of the key's SHA-256: it tells keys apart
	// and tells nothing of them.
	name string
	aead cipher.AEAD
}

// LoadEncryptionKeys reads files of standard base64 of 32 bytes each, a final
// line end allowed. A file that others may write is refused.
func LoadEncryptionKeys(files []string) (*EncryptionKeys, error) {
	if len(files) == 0 {
		return nil, errors.New("no encryption key file is configured")
	}
	e := &EncryptionKeys{}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("reading encryption key: %w", err)
		}
		if info.Mode().Perm()&0o022 != 0 {
			return nil, fmt.Errorf("encryption key file %s may be written by others (mode %04o): run chmod go-w", file, info.Mode().Perm())
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading encryption key: %w", err)
		}
		key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
		if err != nil || len(key) != KeySize {
			return nil, fmt.Errorf("encryption key file %s must hold base64 of %d bytes", file, KeySize)
		}
		if err := e.add(key); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *EncryptionKeys) add(key []byte) error {
	aead, err := newAEAD(key)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(key)
	e.keys = append(e.keys, encryptionKey{name: hex.EncodeToString(sum[:4]), aead: aead})
	return nil
}

// wrap encrypts with the first key; name is bound to the result.
func (e *EncryptionKeys) wrap(plain []byte, name string) (wrapped []byte, by string) {
	return seal(e.keys[0].aead, plain, []byte(name)), e.keys[0].name
}

// unwrap returns ErrWrongKey when no key fits.
func (e *EncryptionKeys) unwrap(wrapped []byte, by, name string) ([]byte, error) {
	for _, key := range e.keys {
		if key.name != by {
			continue
		}
		if plain, err := unseal(key.aead, wrapped, []byte(name)); err == nil {
			return plain, nil
		}
	}
	return nil, fmt.Errorf("%w: key %q is wrapped by encryption key %s", ErrWrongKey, name, by)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// seal puts a random nonce before the ciphertext.
func seal(aead cipher.AEAD, plain, label []byte) []byte {
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process instead
	return aead.Seal(nonce, nonce, plain, label)
}

func unseal(aead cipher.AEAD, sealed, label []byte) ([]byte, error) {
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("sealed value is too short")
	}
	return aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], label)
}
