// SPDX-License-Identifier: Apache-2.0

package user

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/text"
)

// Cost of a new password hash: 19 MiB, two passes, one lane.
// https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
const (
	defaultMemory  = 19456 // KiB
	defaultTime    = 2
	defaultThreads = 1
	saltLength     = 16
	keyLength      = 32
)

// Bounds of the cost a configured hash may ask for, so that a typing error does
// not stop the server.
const (
	maxMemory  = 1 << 20 // KiB
	maxTime    = 32
	maxThreads = 16
)

// MaxPasswordLength in bytes; nothing longer is ever right.
const MaxPasswordLength = 1024

// PasswordHash is a parsed argon2id hash. The zero value matches nothing.
type PasswordHash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// HashPassword makes the PHC string of a password, as text.Password prepares it,
// with a new salt.
func HashPassword(password string) (string, error) {
	if password == "" || len(password) > MaxPasswordLength {
		return "", fmt.Errorf("hashing password: it must have 1 to %d bytes", MaxPasswordLength)
	}
	prepared, err := text.Password(password)
	if err != nil {
		return "", fmt.Errorf("hashing password: it %w", err)
	}
	h := PasswordHash{memory: defaultMemory, time: defaultTime, threads: defaultThreads, salt: text.RandomBytes(saltLength)}
	h.key = h.derivation(prepared, keyLength).Key()
	return h.String(), nil
}

// ParsePasswordHash reads a PHC string such as
// $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
// https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
func ParsePasswordHash(phc string) (PasswordHash, error) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return PasswordHash{}, errors.New("reading password hash: want $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	var h PasswordHash
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.time, h.threads) {
		return PasswordHash{}, errors.New("reading password hash: want parameters m=…,t=…,p=…")
	}
	if h.time < 1 || h.time > maxTime || h.threads < 1 || h.threads > maxThreads ||
		h.memory < 8*uint32(h.threads) || h.memory > maxMemory {
		return PasswordHash{}, fmt.Errorf("reading password hash: parameters out of bounds (m ≤ %d, t ≤ %d, p ≤ %d)", maxMemory, maxTime, maxThreads)
	}
	var err error
	if h.salt, err = text.DecodeBase64(base64.RawStdEncoding.Strict(), parts[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return PasswordHash{}, errors.New("reading password hash: the salt is not 8 to 64 bytes of base64")
	}
	if h.key, err = text.DecodeBase64(base64.RawStdEncoding.Strict(), parts[5]); err != nil || len(h.key) < 16 || len(h.key) > 64 {
		return PasswordHash{}, errors.New("reading password hash: the hash is not 16 to 64 bytes of base64")
	}
	return h, nil
}

// String is the PHC string.
func (h PasswordHash) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.memory, h.time, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.key))
}

// Matches tells, in the time the hash was made to cost, whether password is the
// one it was made of, however it is typed (text.Password).
func (h PasswordHash) Matches(password string) bool { return h.matches(password, (*Derivation).Key) }

// matches is Matches with a key that is derived elsewhere.
func (h PasswordHash) matches(password string, derive func(*Derivation) []byte) bool {
	if len(h.key) == 0 {
		return false
	}
	prepared, err := text.Password(password)
	if err != nil {
		prepared = password // costs the same
	}
	return subtle.ConstantTimeCompare(derive(h.derivation(prepared, uint32(len(h.key)))), h.key) == 1 && err == nil
}

func (h PasswordHash) derivation(password string, length uint32) *Derivation {
	return &Derivation{
		Password: []byte(password), Salt: h.salt, Time: h.time, Memory: h.memory, Threads: h.threads, Length: length,
	}
}
