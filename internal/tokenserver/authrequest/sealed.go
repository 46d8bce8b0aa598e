// SPDX-License-Identifier: Apache-2.0

package authrequest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// sealedLifetime is how long a person may take from a POST to the decision.
const sealedLifetime = 30 * time.Minute

// MaxParameters bounds a request that comes by POST, in bytes: it must fit into
// an address, as one that comes by GET does.
const MaxParameters = 8 << 10

// sealedLabel binds what is sealed to its purpose.
const sealedLabel = "authorization request"

// Sealer encrypts what leaves the server and comes back.
type Sealer interface {
	Seal(plain, label []byte) ([]byte, error)
	// Unseal fails for everything that Seal did not make under that label.
	Unseal(sealed, label []byte) ([]byte, error)
}

// Sealed is the local address of a request that came by POST. The request is in
// the address itself, encrypted, so that nobody fills a database with them.
func (q *Requests) Sealed(query url.Values) (string, error) {
	plain := binary.BigEndian.AppendUint64(nil, uint64(q.Now().Add(sealedLifetime).Unix()))
	sealed, err := q.Sealer.Seal(append(plain, ours(query).Encode()...), []byte(sealedLabel))
	if err != nil {
		return "", fmt.Errorf("sealing an authorization request: %w", err)
	}
	return sealedAddress(base64.RawURLEncoding.EncodeToString(sealed)), nil
}

func sealedAddress(text string) string {
	return oauth.PathAuthorize + "?" + sealedParameter + "=" + text
}

func (q *Requests) unseal(sealed string) (url.Values, *Refusal) {
	raw, err := text.DecodeBase64URL(sealed)
	if err != nil {
		return nil, notSealed()
	}
	plain, err := q.Sealer.Unseal(raw, []byte(sealedLabel))
	if err != nil || len(plain) < 8 {
		return nil, notSealed()
	}
	if ends := time.Unix(int64(binary.BigEndian.Uint64(plain)), 0); !q.Now().Before(ends) {
		return nil, Page("expired", oauth.CodeInvalidRequest, "the request was sent too long ago")
	}
	query, err := httpx.ParseForm(string(plain[8:]))
	if err != nil {
		return nil, notSealed()
	}
	return query, nil
}

func notSealed() *Refusal {
	return Page("request", oauth.CodeInvalidRequest, "the address of the request is incomplete or was changed")
}
