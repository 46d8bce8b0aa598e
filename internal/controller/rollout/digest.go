// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
)

// Digest tells one content of a Secret from the next. More people read workloads
// than Secrets, and they may try guesses against it. So it is made for what the
// manager writes alone: it holds either a value that the token server made, random
// and long, or nothing secret at all. What others put into a Secret, which may be a
// word of a dictionary, is not to be in data.
func Digest(data map[string][]byte) string {
	h := sha256.New()
	part := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		part([]byte(key))
		part(data[key])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
