// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"connectedapps.dev/operator/internal/tokenserver/text"
)

// SecretHasher makes client ids and secrets and hashes secrets. A generated
// secret has 256 random bits, so that a fast keyed hash is enough.
type SecretHasher struct {
	// Key is the data key for secret hashes.
	Key []byte
	// macs are ready for the next secret: what the key alone costs is paid once.
	macs sync.Pool
}

// secretPrefix helps secret scanners to recognise a leaked secret.
const secretPrefix = "cas_"

// secretLength is how many base62 characters hold 256 bits.
const secretLength = 43

// Hash is HMAC-SHA-256 under the key: what the database holds of a secret.
func (h *SecretHasher) Hash(secret string) []byte {
	mac, ready := h.macs.Get().(hash.Hash)
	if !ready {
		mac = hmac.New(sha256.New, h.Key)
	}
	_, _ = io.WriteString(mac, secret)
	sum := mac.Sum(nil)
	mac.Reset()
	h.macs.Put(mac)
	return sum
}

// NewSecret makes a client secret.
func (h *SecretHasher) NewSecret() string {
	return secretPrefix + text.RandomBase62(secretLength)
}

// NewClientID makes 32 lower-case hex digits.
func (h *SecretHasher) NewClientID() string {
	return text.RandomHex(16)
}
