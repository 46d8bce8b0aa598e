// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"time"
)

// OpaqueToken is what an opaque access token stands for.
type OpaqueToken struct {
	// Hash is SHA-256 of the token.
	Hash     []byte
	ClientID string
	// Document is the token's content, JSON.
	Document  string
	ExpiresAt time.Time
}

// OpaqueTokens is the role of opaque access tokens.
type OpaqueTokens interface {
	CreateOpaqueToken(ctx context.Context, t OpaqueToken) error
	// OpaqueToken returns the token, expired or not, or ErrNotFound. It goes with
	// its app, and with the garbage once expired.
	OpaqueToken(ctx context.Context, hash []byte) (OpaqueToken, error)
}
