// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// SecretHasher makes client ids and secrets and hashes secrets. A generated
// secret has 256 random bits, so that a fast keyed hash is enough.
type SecretHasher struct {
	// Key is the data key for secret hashes.
	Key []byte
}

// secretPrefix helps secret scanners to recognise a leaked secret.
const secretPrefix = "cas_"

// secretLength is how many base62 characters hold 256 bits.
const secretLength = 43

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Hash is HMAC-SHA-256 under the key: what the database holds of a secret.
func (h *SecretHasher) Hash(secret string) []byte {
	mac := hmac.New(sha256.New, h.Key)
	mac.Write([]byte(secret))
	return mac.Sum(nil)
}

// NewSecret makes a client secret.
func (h *SecretHasher) NewSecret() string {
	return secretPrefix + randomBase62(secretLength)
}

// NewClientID makes 32 lower-case hex digits.
func (h *SecretHasher) NewClientID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// randomBase62 draws each character with the same chance: bytes that would
// favour some are drawn again.
func randomBase62(n int) string {
	const fair = 256 - 256%len(base62)
	text := make([]byte, 0, n)
	var random [64]byte
	for len(text) < n {
		_, _ = rand.Read(random[:])
		for _, b := range random {
			if int(b) < fair && len(text) < n {
				text = append(text, base62[int(b)%len(base62)])
			}
		}
	}
	return string(text)
}
