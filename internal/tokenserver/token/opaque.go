// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// Formats of access tokens, as an app's access_token_format names them.
const (
	FormatJWT    = "jwt"
	FormatOpaque = "opaque"
)

// opaquePrefix tells an opaque token from a JWT and helps secret scanners.
const opaquePrefix = "cat_"

// OpaqueTokens keeps what opaque tokens stand for, by their SHA-256.
type OpaqueTokens struct{ Store storage.OpaqueTokens }

func (o OpaqueTokens) issue(ctx context.Context, t *AccessToken) (string, error) {
	raw := opaquePrefix + text.Random(32)
	document, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encoding an opaque token: %w", err)
	}
	err = o.Store.CreateOpaqueToken(ctx, storage.OpaqueToken{
		Hash: hashOf(raw), ClientID: t.ClientID, Document: string(document), ExpiresAt: t.ExpiresAt,
	})
	if err != nil {
		return "", fmt.Errorf("storing an opaque token: %w", err)
	}
	return raw, nil
}

// find returns ErrInvalid for a token nobody issued.
func (o OpaqueTokens) find(ctx context.Context, raw string) (*AccessToken, error) {
	record, err := o.Store.OpaqueToken(ctx, hashOf(raw))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, invalid("unknown token")
	}
	if err != nil {
		return nil, fmt.Errorf("reading an opaque token: %w", err)
	}
	if t, ok := plainToken(record.Document); ok {
		return t, nil
	}
	t := &AccessToken{}
	if err := json.Unmarshal([]byte(record.Document), t); err != nil {
		return nil, fmt.Errorf("decoding an opaque token: %w", err)
	}
	return t, nil
}

func isOpaque(raw string) bool { return strings.HasPrefix(raw, opaquePrefix) }

func hashOf(raw string) []byte {
	sum := sha256.Sum256([]byte(raw))
	return sum[:]
}
